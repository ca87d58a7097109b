// How much room is left, and what of our own tables waits for somebody: size, days until it is full, migrations, quarantine, gaps.

import type { AppTables, Vitals } from '../observation.ts'
import { daysToWraparound, daysUntil, type Growth } from '../predict.ts'
import { counted, forBytes, forShare } from './figures.ts'
import { above, below, info, type Judged, type Judges, type Look, ok, skipped } from './judge.ts'

const unitBytes: Readonly<Record<string, number>> = { B: 1, kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 }

/** As current_setting writes a size, such as "10GB"; a bare number is in megabytes there. Null for none, also for -1. */
export function bytesOf(text: string | null | undefined): number | null {
  const [, amount, unit = 'MB'] = /^(\d+)\s*(B|kB|MB|GB|TB)?$/.exec(text?.trim() ?? '') ?? []
  const bytes = Number(amount ?? 0) * (unitBytes[unit] ?? 0)
  return bytes > 0 ? bytes : null
}

/** The setting's word, else the server's own (Neon's); null when nobody knows. */
export function fullAt(vitals: Vitals | undefined, { settings }: Look): number | null {
  const { databaseFullBytes } = settings.health.thresholds
  return databaseFullBytes > 0 ? databaseFullBytes : bytesOf(vitals?.settings['neon.max_cluster_size'])
}

const makeRoom = 'Shorten retention.*, drop what nobody needs (largest tables in the report), or get more space.'
const sayTheLimit = 'Set health.thresholds.databaseFullBytes to be warned before it is full.'

const databaseSize = (vitals: Vitals, look: Look): Judged => {
  const { databaseBytes } = vitals
  if (databaseBytes === null) return skipped('The size was not asked for.', 'Nothing: it would have been slow.', { unit: 'bytes' })
  const full = fullAt(vitals, look)
  if (full === null)
    return skipped(`The database has ${forBytes(databaseBytes)}; where it is full is not known.`, sayTheLimit, {
      value: databaseBytes,
      unit: 'bytes',
    })
  return {
    ...above(databaseBytes, { warning: Math.round(0.8 * full), critical: Math.round(0.92 * full) }),
    unit: 'bytes',
    message: `The database has ${forBytes(databaseBytes)} of ${forBytes(full)} (${forShare(databaseBytes / full)}).`,
    action: makeRoom,
  }
}

const billion = 1e9

/** Transaction numbers come to an end: the server stops taking writes before they do. */
const wraparound = ({ wraparound: { xidAge, mxidAge, freezeMaxAge } }: Vitals, { recent }: Look): Judged => {
  const age = Math.max(xidAge, mxidAge)
  const measured = above(age, { warning: 1.2 * freezeMaxAge, critical: billion })
  const days = recent.counters === null ? null : daysToWraparound(age, recent.counters.commits + recent.counters.rollbacks)
  const message = `The oldest row is ${counted(age, 'transaction')} old${days === null || measured.severity === 'ok' ? '' : `; at the rate of the last hour writes stop in about ${counted(Math.round(days), 'day')}`}.`
  const action = 'Vacuum has to freeze: see what keeps it back (xmin-horizon), and vacuum the oldest tables now.'
  const evidence = [
    "select c.oid::regclass, age(c.relfrozenxid) from pg_class c where c.relkind in ('r', 'm', 't') order by 2 desc limit 5;",
    'vacuum (freeze) <table>;',
  ]
  // from its own limit on, autovacuum freezes by itself
  if (measured.severity === 'ok' && age > freezeMaxAge)
    return info(message, 'Nothing: autovacuum freezes by itself from here on.', { ...measured, severity: 'info', unit: 'count' })
  return { ...measured, unit: 'count', message, action, evidence }
}

export const sizeChecks: Judges<Vitals> = { 'database-size': databaseSize, wraparound }

const daysToFull = ({ dailyBytes }: AppTables, look: Look): Judged => {
  const { database } = look.observation
  const full = fullAt(database.kind === 'answers' && 'settings' in database.vitals ? database.vitals : undefined, look)
  if (full === null) return skipped('Where the database is full is not known.', sayTheLimit, { unit: 'days' })
  const growth = daysUntil(
    dailyBytes.map(({ day, bytes }) => ({ day, amount: bytes })),
    full,
  )
  if (growth === undefined)
    return skipped(`Its size is known for ${counted(dailyBytes.length, 'day')}.`, 'Nothing: from 7 days on its growth is judged.', {
      unit: 'days',
    })
  if (growth === null) return ok('The database does not grow.', { unit: 'days' })
  return {
    ...below(Math.min(growth.days, 100_000), { warning: 30, critical: 7 }),
    unit: 'days',
    hold: { bad: 2, of: 2 },
    message: `The database grows by ${forBytes(growth.perDay)} a day and is full in ${range(growth)}.`,
    action: makeRoom,
  }
}

function range({ days, daysAtMost }: Growth): string {
  const [least, most] = [Math.floor(days), Math.ceil(daysAtMost)]
  if (least > 1_000) return 'more than 1000 days'
  return most === least || most > 1_000 ? `about ${counted(least, 'day')}` : `${least} to ${most} days`
}

const migrations = ({ migrationsPending }: AppTables): Judged =>
  migrationsPending.length === 0
    ? ok('The schema is up to date.')
    : {
        severity: 'warning',
        value: migrationsPending.length,
        unit: 'count',
        hold: { bad: 3, of: 5 },
        message: `The schema is behind this code: ${migrationsPending.join(', ')} ${migrationsPending.length === 1 ? 'is' : 'are'} not applied.`,
        action: 'Run the migrations: deploy again or invoke `migrate`; on one machine start again. What does not fit stays parked.',
      }

const quarantine = ({ quarantined }: AppTables): Judged => ({
  ...above(quarantined, { warning: 0 }),
  unit: 'count',
  message: `${counted(quarantined, 'row waits', 'rows wait')} in the quarantine.`,
  action: 'tokay quarantine list shows them with the reason; retry them after the cause is gone, or drop them.',
})

const coverageGaps = ({ openGaps }: AppTables): Judged =>
  openGaps === 0
    ? ok('No gap is open.', { value: 0, unit: 'count' })
    : info(
        `${counted(openGaps, 'stretch', 'stretches')} of time ${openGaps === 1 ? 'is' : 'are'} missing.`,
        'Table coverage_gaps lists them.',
        {
          value: openGaps,
          unit: 'count',
        },
      )

export const appChecks: Judges<AppTables> = {
  migrations,
  quarantine,
  'coverage-gaps': coverageGaps,
  'days-to-full': daysToFull,
}
