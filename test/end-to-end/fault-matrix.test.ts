import { faults } from '../../cli/local/faults.ts'
import { faultMatrix } from '../support/fault-matrix.ts'

faultMatrix({ over: 'pg', faults, report: 'fault-matrix' })
