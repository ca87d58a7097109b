// Whether the database answers, and how it does: the checks that stand above all others.

import { atOnce, threeOfFive } from '../check.ts'
import { connectFailureWords } from '../connect-failure.ts'
import type { DatabaseSeen, Observation, Vitals } from '../observation.ts'
import { forTime } from './figures.ts'
import { above, info, type Judge, type Judged, type Judges, type Look, ok, skipped } from './judge.ts'

type Answer = Extract<DatabaseSeen, { kind: 'answers' }>

/** True only where there is a queue to park in. */
export const nothingIsLost = ({ parked }: Observation) =>
  parked === null ? '' : ' Nothing is lost: batches are parked and written when it is back.'

const connect: Judge<DatabaseSeen> = (database, { observation }) => {
  switch (database.kind) {
    case 'answers':
      return ok('The database answers.', { value: 'answers', hold: threeOfFive })
    case 'not-asked':
      return skipped(`The database was not asked: ${database.why}.`, 'Nothing: it is left asleep on purpose.')
    case 'unreachable': {
      const { short, means, action } = connectFailureWords[database.failure]
      return {
        severity: 'critical',
        value: database.failure,
        message: `The database ${short}: ${database.message}.`,
        action: `${action}${nothingIsLost(observation)}`,
        evidence: [means, `${database.message} (after ${forTime(database.afterMs)})`],
        // one lost packet wakes nobody; an open circuit is a second witness
        hold: observation.breaker?.state === 'open' ? atOnce : threeOfFive,
      }
    }
    default:
      return database satisfies never
  }
}

/** Of the database's answer as a whole: also told when it did not answer. */
export const connectChecks: Judges<DatabaseSeen> = { connect }

const connectLatency = ({ connectMs }: Answer): Judged =>
  connectMs === null
    ? skipped('No new connection was needed.', 'Nothing: an open one was used.')
    : {
        ...above(connectMs, { warning: 500, critical: 2_000 }),
        unit: 'ms',
        hold: threeOfFive,
        message: `A new connection takes ${forTime(connectMs)}.`,
        action: 'Run in the same region as the database, or put a pooler between; see whether the server is overloaded.',
      }

const simpleQuery = ({ queryMs, vitals }: Answer, { settings }: Look): Judged => ({
  ...above(queryMs, { warning: settings.health.thresholds.simpleQueryMs }),
  unit: 'ms',
  hold: threeOfFive,
  message: `A simple query takes ${forTime(queryMs)}${'serverMs' in vitals ? `, ${forTime(vitals.serverMs)} of it in the server` : ''}.`,
  action: 'When most of it is not in the server: run in the same region. Else look at its load.',
})

const clockSkew = ({ clockSkewMs }: Answer): Judged =>
  clockSkewMs === undefined
    ? skipped("The server's clock was not read.", 'Nothing: the next look will.', { unit: 'ms' })
    : {
        ...above(Math.abs(clockSkewMs), { warning: 2_000, critical: 5_000 }),
        unit: 'ms',
        hold: threeOfFive,
        message:
          clockSkewMs === 0
            ? "The server's clock agrees with ours."
            : `The server's clock is ${forTime(Math.abs(clockSkewMs))} ${clockSkewMs > 0 ? 'ahead of' : 'behind'} ours.`,
        action: 'Synchronise both clocks (NTP): days, partitions and what is too old are judged by them.',
      }

/** Of an answer, whether or not it held the vitals. */
export const answerChecks: Judges<Answer> = {
  'connect-latency': connectLatency,
  'simple-query': simpleQuery,
  'clock-skew': clockSkew,
}

/** A server that has just started is cold: its first answers are slow, and say nothing. */
const coldForMs = 120_000

const restart = ({ server }: Vitals, { observation: { database }, recent }: Look): Judged => {
  const upForMs = Math.max(0, server.nowMs - server.startedAtMs)
  if (database.kind === 'answers' && database.woke)
    return info('The server was asleep, and this look has woken it.', 'Nothing: it is slow for a moment.')
  return recent.wasRestarted || upForMs < coldForMs
    ? info(
        `The server was started ${forTime(upForMs)} ago.`,
        'Nothing, if it was wanted; else read its log. Slow answers of the first two minutes are not told.',
      )
    : ok(`The server has been up for ${forTime(upForMs)}.`)
}

const readOnly = ({ server }: Vitals, { observation }: Look): Judged =>
  server.isReadOnly || server.isInRecovery
    ? {
        severity: 'critical',
        value: server.isInRecovery ? 'standby' : 'read-only',
        message: `The server takes no writes: ${server.isInRecovery ? 'it is a standby' : 'default_transaction_read_only is on'}.`,
        action: `${server.isInRecovery ? 'After a failover, see that the name points to the new primary; else correct the host in the Postgres URL.' : 'See who has set it (alter system, database or role), or whether the provider has closed writes for a full disk or quota.'}${nothingIsLost(observation)}`,
      }
    : ok('The server takes writes.', { value: 'read-write' })

const tls = ({ server }: Vitals): Judged =>
  server.tls?.isOn === false
    ? info('The connection is not encrypted.', 'Nothing on one machine; across a network set sslmode=verify-full in the Postgres URL.', {
        value: 'off',
      })
    : ok('The connection is encrypted.', { value: server.tls?.version ?? 'HTTPS' })

export const serverChecks: Judges<Vitals> = { 'read-only': readOnly, restart, tls }
