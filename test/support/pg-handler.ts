// The least that a function with a database can be: what the cold starts of the others are measured against.

import { Pool } from 'pg'

const pool = new Pool({ max: 1 })

export const handler = async () => pool.totalCount
