// A database that answers by a script: one entry for each attempt, the last one for ever.

import { DatabaseError, type AttemptLimits, type Database, type Rows, type Statement } from '../../shared/db/database.ts'

/** Rows of every statement of the attempt, or what it throws. A function runs during the attempt. */
export type Scripted = Rows | Error | (() => Rows | Promise<Rows>)

export type FakeDatabase = Database & {
  readonly attempts: readonly { readonly statements: readonly Statement[]; readonly limits: AttemptLimits }[]
}

export function createFakeDatabase(...script: readonly Scripted[]): FakeDatabase {
  const attempts: { statements: readonly Statement[]; limits: AttemptLimits }[] = []
  async function answer(statements: readonly Statement[], limits: AttemptLimits): Promise<Rows> {
    const scripted = script[Math.min(attempts.length, script.length - 1)] ?? []
    attempts.push({ statements, limits })
    if (scripted instanceof Error) throw scripted
    return typeof scripted === 'function' ? scripted() : scripted
  }
  return {
    driver: 'pg',
    attempts,
    query: (statement, limits) => answer([statement], limits),
    transaction: async (statements, limits) => {
      const rows = await answer(statements, limits)
      return statements.map(() => rows)
    },
    async end() {},
  }
}

/** A failure by SQLSTATE, as the adapters report one that the server answered. */
export const refused = (sqlState: string, fields: { message?: string; routine?: string } = {}) =>
  new DatabaseError(`write: ${fields.message ?? 'refused'} (${sqlState})`, {
    statement: 'write',
    applied: 'refused',
    sqlState,
    severity: 'ERROR',
    routine: fields.routine,
  })

/** A connection that could not be made. */
export const unreachable = () =>
  new DatabaseError('connect: connect ECONNREFUSED 127.0.0.1:5432', { statement: 'connect', applied: 'not-sent', errno: 'ECONNREFUSED' })

/** A connection that was lost with everything in flight. */
export const lost = () => new DatabaseError('write: Connection terminated unexpectedly', { statement: 'write', applied: 'unknown' })
