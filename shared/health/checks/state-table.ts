// The state table itself: without it nobody can say how the circuit and the collectors are.

import { threeOfFive } from '../check.ts'
import type { Observation } from '../observation.ts'
import { type Judged, type Judges, ok } from './judge.ts'

const stateTable = ({ stateAnswers }: Observation): Judged =>
  stateAnswers
    ? ok('The state table answers.', { hold: threeOfFive })
    : {
        severity: 'warning',
        value: null,
        hold: threeOfFive,
        message: 'The state table does not answer.',
        action: 'Check that it is there and may be read. Until then collectors run without claims and cursors: rows may be fetched twice.',
      }

export const stateChecks: Judges<Observation> = { 'state-table': stateTable }
