// How things are set up: the server's settings and version, and whether an alert would reach anybody.

import type { Receivers, Vitals } from '../observation.ts'
import { counted } from './figures.ts'
import { eachOf, info, type Judged, type Judges, type Look, ok } from './judge.ts'

type Lint = {
  readonly setting: string
  readonly isBad: (value: string) => boolean
  readonly severity: 'info' | 'warning'
  readonly says: string
  readonly sql: string
}

const isOff = (value: string) => value === 'off'
const isNone = (value: string) => /^0\D*$/.test(value)

const lints: readonly Lint[] = [
  {
    setting: 'fsync',
    isBad: isOff,
    severity: 'warning',
    says: 'a crash of the host can destroy the whole database',
    sql: 'alter system set fsync = on;',
  },
  {
    setting: 'full_page_writes',
    isBad: isOff,
    severity: 'warning',
    says: 'a crash of the host can damage pages',
    sql: 'alter system set full_page_writes = on;',
  },
  {
    setting: 'synchronous_commit',
    isBad: isOff,
    severity: 'warning',
    says: 'a crash loses the last commits, after they were reported as written',
    sql: 'alter system set synchronous_commit = on;',
  },
  {
    setting: 'autovacuum',
    isBad: isOff,
    severity: 'warning',
    says: 'tables bloat, and transaction numbers run out',
    sql: 'alter system set autovacuum = on;',
  },
  {
    setting: 'idle_in_transaction_session_timeout',
    isBad: isNone,
    severity: 'info',
    says: 'a client that hangs in a transaction keeps its locks for ever',
    sql: "alter database <name> set idle_in_transaction_session_timeout = '5min';",
  },
  {
    setting: 'default_transaction_isolation',
    isBad: (value) => value !== 'read committed',
    severity: 'info',
    says: 'writers that meet get serialization failures instead of waiting',
    sql: "alter database <name> set default_transaction_isolation = 'read committed';",
  },
]

/** Their storage is not Postgres' own files, and they switch both off on purpose. */
const ownStorage = new Set(['neon', 'aurora'])
const ofFiles = new Set(['fsync', 'full_page_writes'])

const serverSettings = ({ settings, server }: Vitals): Judged | readonly Judged[] =>
  eachOf(
    lints.flatMap((lint) => {
      const value = settings[lint.setting] ?? null
      const isMeant = ofFiles.has(lint.setting) && ownStorage.has(server.flavor)
      return value !== null && !isMeant && lint.isBad(value) ? [{ ...lint, value }] : []
    }),
    ({ setting, value, severity, says, sql }) => ({
      severity,
      subject: setting,
      value,
      message: `${setting} is ${value}: ${says}.`,
      action: 'Change it, or leave it if that is meant.',
      evidence: [sql],
    }),
    'The settings of the server are sound.',
  )

/** Last day of support, by major version. */
const endsOfLife: Readonly<Record<number, string>> = {
  14: '2026-11-12',
  15: '2027-11-11',
  16: '2028-11-09',
  17: '2029-11-08',
  18: '2030-11-14',
}
const soonMs = 180 * 86_400_000

const serverVersion = ({ server }: Vitals, { observation }: Look): Judged => {
  const major = Math.floor(server.version / 10_000)
  const value = `${major}.${server.version % 10_000}`
  const end = major < 14 ? '2025-11-13' : endsOfLife[major]
  const endsAtMs = end === undefined ? Infinity : Date.parse(end)
  const action = 'Plan the upgrade to a newer major version.'
  if (observation.atMs > endsAtMs)
    return { severity: 'warning', value, message: `PostgreSQL ${value} gets no fixes any more since ${end}.`, action }
  if (endsAtMs - observation.atMs < soonMs) return info(`PostgreSQL ${value} gets no more fixes from ${end} on.`, action, { value })
  return ok(`PostgreSQL ${value} gets fixes${end === undefined ? '' : ` until ${end}`}.`, { value })
}

/** What a role may see. */
const privileges = ({ server }: Vitals): Judged =>
  server.seesOthers
    ? ok('The role sees all sessions.')
    : info(`Role ${server.role} sees only its own sessions' states and queries.`, 'Some checks are skipped for that.', {
        evidence: [`grant pg_monitor to ${server.role};`],
      })

export const configurationChecks: Judges<Vitals> = { setting: serverSettings, 'server-version': serverVersion, privileges }

const alertPath = ({ confirmed, pending }: Receivers): Judged => {
  const value = confirmed
  if (confirmed === 0)
    return {
      severity: 'warning',
      value,
      unit: 'count',
      message: `Nobody gets an alert: ${pending === 0 ? 'there is no receiver' : `${counted(pending, 'receiver has', 'receivers have')} not confirmed`}.`,
      action: pending === 0 ? 'Deploy with alertEmail.' : 'Click the link in the mail that SNS has sent; look into the spam folder.',
    }
  if (pending > 0)
    return info(
      `${counted(pending, 'receiver has', 'receivers have')} not confirmed yet.`,
      'Click the link in the mail that SNS has sent.',
      {
        value,
        unit: 'count',
      },
    )
  return ok(`${counted(confirmed, 'receiver gets', 'receivers get')} alerts.`, { value, unit: 'count' })
}

export const receiverChecks: Judges<Receivers> = { 'alert-path': alertPath }
