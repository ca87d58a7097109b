// The command line. Exit codes: 0 done, 1 something failed, 2 used or set up wrongly. db-health has a monitoring system's: 0 to 3.
// stdout has what was asked for, stderr what happened on the way.

import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import { type ExportTableName, exportTableNames } from '../shared/db/export-statements.ts'
import { ConfigError } from '../shared/errors.ts'
import { type CollectorName, collectorNames } from '../shared/names.ts'
import type { AlertOptions } from './alerts-command.ts'
import type { BreakerOptions } from './breaker-command.ts'
import { durationMs, isScope } from './breaker-words.ts'
import type { HealthOptions } from './db-health-command.ts'
import type { MonitorOptions } from './db-monitor-command.ts'
import type { DrillOptions } from './drill.ts'
import type { ExportOptions } from './export-command.ts'
import type { GapsOptions } from './gaps-command.ts'
import type { QuarantineOptions } from './quarantine-command.ts'
import type { StartOptions } from './start.ts'
import type { StatusOptions } from './status-command.ts'

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // the second time somebody means it
    if (stop.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143)
    stop.abort()
  })
}

function whole(low: number, high: number) {
  return (text: string) => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < low || value > high)
      throw new InvalidArgumentError(`It must be a whole number from ${low} to ${high}.`)
    return value
  }
}

const sourceOption = () =>
  new Option('--source <source>', 'where data comes from (default: the live API when it can be reached, else the simulator)').choices([
    'live',
    'simulator',
  ])
const replayOption = () => new Option('--replay <dir>', 'serve recorded API answers from a folder with a manifest.json').conflicts('source')
const dataDirOption = () => new Option('--data-dir <dir>', 'folder of the embedded Postgres, the state and parked writes')
const portOption = () => new Option('--port <port>', 'port of the embedded Postgres (default: a free one)').argParser(whole(1, 65_535))

const program = new Command('tokay')
  .description('Collects DEX pools and trades from GeckoTerminal into Postgres, and loses nothing when the database goes away.')
  .showHelpAfterError('(--help shows the options)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))

program
  .command('start')
  .description('run the collectors on this machine; Postgres is DATABASE_URL, or an embedded one')
  .addOption(sourceOption())
  .addOption(replayOption())
  .addOption(
    new Option(
      '--driver <driver>',
      'in place of the setting database.driver; neon before any other Postgres: through a local server',
    ).choices(['pg', 'neon']),
  )
  .option('--once', 'each collector once, then exit')
  .option('--duration <seconds>', 'stop by itself after this time', whole(1, 31_536_000))
  .addOption(dataDirOption())
  .addOption(portOption())
  .addOption(
    new Option('--page-port <port>', 'port of the status page (default: 7460, or a free one; 0: a free one)').argParser(whole(0, 65_535)),
  )
  .option('--no-page', 'no status page')
  .option('--json', 'one JSON summary on stdout at the end; everything else goes to stderr')
  .action(async ({ duration, ...options }: Omit<StartOptions, 'durationS'> & { duration?: number }) => {
    const { start } = await import('./start.ts')
    process.exitCode = await start({ ...options, ...(duration === undefined ? {} : { durationS: duration }) }, stop.signal)
  })

program
  .command('demo')
  .description(
    'an outage from start to end, in about a minute: the database is cut off, batches are parked, it comes back, nothing is missing',
  )
  .option('--json', 'the result as JSON on stdout, the story on stderr')
  .action(async (options: { json?: boolean }) => {
    const { demo } = await import('./demo.ts')
    process.exitCode = await demo(options, stop.signal)
  })

program
  .command('drill')
  .description('the outage proof on this machine: each fault with rows lost, doubled and half-written, and the seconds to recover')
  .option('--faults <names>', 'these only, with commas between', (text) => text.split(','))
  .option('--hold <seconds>', 'how long each fault lasts (default: 4)', whole(1, 600))
  .option('--list', 'the faults and what they do')
  .option('--json', 'the scores as JSON on stdout, the table on stderr')
  .action(async ({ hold, ...options }: Omit<DrillOptions, 'holdS'> & { hold?: number }) => {
    const { drill } = await import('./drill.ts')
    process.exitCode = await drill({ ...options, ...(hold === undefined ? {} : { holdS: hold }) }, stop.signal)
  })

program
  .command('collect')
  .alias('run-collector')
  .description('run one collector now, whether it is due or not')
  .addArgument(program.createArgument('<collector>', 'which one').choices([...collectorNames]))
  .option('--dry-run', 'fetch and read everything, write nothing')
  .addOption(sourceOption())
  .addOption(replayOption())
  .addOption(dataDirOption())
  .addOption(portOption())
  .option('--json', 'the result as JSON on stdout')
  .action(async (collector: CollectorName, options: StartOptions & { dryRun?: boolean }) => {
    const { collectByHand } = await import('./collect-command.ts')
    process.exitCode = await collectByHand(collector, options, stop.signal)
  })

const ofSourceOption = () =>
  new Option('--source <source>', 'whose data: each source has its own (default: the one that was used last)').choices([
    'live',
    'simulator',
    'replay',
  ])

function uuids(text: string, before: readonly string[] = []): readonly string[] {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text))
    throw new InvalidArgumentError('It must be an id as `tokay quarantine list` shows it.')
  return [...before, text]
}

const quarantine = program.command('quarantine').description('rows that Postgres refused, kept apart with the reason')

const quarantineCommand = (name: 'list' | 'retry' | 'drop', does: string, all: string) =>
  quarantine
    .command(name)
    .description(does)
    .option('--id <id>', 'this row; may be given several times', uuids)
    .addOption(new Option('--all', all).conflicts('id'))
    .addOption(ofSourceOption())
    .addOption(dataDirOption())
    .addOption(portOption())
    .option('--json', 'the result as JSON on stdout')
    .action(async (options: QuarantineOptions, command: Command) => {
      if (name !== 'list' && !options.all && !options.id) command.error('error: say which rows: --id <id>, or --all')
      const commands = await import('./quarantine-command.ts')
      process.exitCode = await { list: commands.listQuarantine, retry: commands.retryQuarantine, drop: commands.dropQuarantine }[name](
        options,
      )
    })
quarantineCommand('list', 'the rows that are held, oldest first', 'also those that were written since')
quarantineCommand('retry', 'write rows again, each by itself; what is refused again stays', 'every held row')
quarantineCommand('drop', 'delete rows for good', 'every row')

const hourMs = 3_600_000

const lasting = (mostHours: number) => (text: string) => {
  const ms = durationMs(text, mostHours * hourMs)
  if (ms === undefined)
    throw new InvalidArgumentError(`It must be a time such as 30s, 5m or 2h, at most ${mostHours}h; 0s takes an earlier word back.`)
  return ms
}

function scope(text: string): string {
  if (!isScope(text)) throw new InvalidArgumentError('It must be database, gecko, stream:dexes, stream:pools or stream:trades.')
  return text
}

const awsOption = () =>
  new Option('--aws', 'a deployed stage instead of this machine; credentials and region as for the AWS CLI').conflicts([
    'source',
    'dataDir',
  ])
const stageOption = () => new Option('--stage <stage>', 'which stage on AWS (default: the one in cdk.json)').implies({ aws: true })

/** On this machine or on AWS. */
const ofState = (command: Command) =>
  command
    .addOption(ofSourceOption())
    .addOption(dataDirOption())
    .addOption(awsOption())
    .addOption(stageOption())
    .option('--json', 'as JSON on stdout')

const breaker = program.command('breaker').description("the circuit breakers, and an operator's word over them")

ofState(breaker.command('list'))
  .description('the state of the circuits')
  .addArgument(new Argument('[scope]', 'this one').argParser(scope))
  .action(async (which: string | undefined, options: BreakerOptions) => {
    const { listBreakers } = await import('./breaker-command.ts')
    process.exitCode = await listBreakers(which, options)
  })

for (const [name, forced, does] of [
  ['open', 'open', 'let nothing through for a while: what is collected is parked'],
  ['close', 'closed', 'let everything through for a while, whatever fails'],
] as const) {
  ofState(breaker.command(name))
    .description(does)
    .addArgument(new Argument('[scope]', 'which').argParser(scope).default('database'))
    .option('--for <time>', 'it ends by itself after this time, such as 30s, 5m, 2h; 0s ends it now', lasting(24), 30 * 60_000)
    .action(async (which: string, { for: forMs, ...options }: BreakerOptions & { for: number }) => {
      const { forceBreaker } = await import('./breaker-command.ts')
      process.exitCode = await forceBreaker(forced, which, forMs, options)
    })
}

function seconds(low: number, high: number) {
  return (text: string) => {
    const value = Number(text)
    if (!(value >= low && value <= high)) throw new InvalidArgumentError(`It must be a number from ${low} to ${high}.`)
    return value
  }
}

/** Also while something still hangs: a name server that does not answer would keep this process for half a minute. */
function endWith(code: number): void {
  process.exitCode = code
  process.stdout.write('', () => process.stderr.write('', () => process.exit(code)))
}

program
  .command('db-health')
  .description('how the database and what is written to it are, with what to do; exit code 0 healthy, 1 degraded, 2 critical, 3 unknown')
  .option('--test-connectivity', 'connect and measure; always done')
  .option('--test-performance', 'also tables, indexes, sequences and slow statements')
  .option('--deep', 'the same as --test-performance')
  .addOption(new Option('--format <format>', 'how it is shown').choices(['table', 'json', 'health+json']).default('table'))
  .addOption(new Option('--json', 'as JSON on stdout').conflicts('format'))
  .addOption(ofSourceOption())
  .addOption(dataDirOption())
  // used wrongly is no finding: to a monitoring system 2 is critical
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 3))
  .action(async (options: HealthOptions) => {
    const { dbHealth } = await import('./db-health-command.ts')
    endWith(await dbHealth(options, stop.signal))
  })

program
  .command('db-monitor')
  .description('watch the database: panes on a terminal, a line a look elsewhere; a summary at the end. Exit code 3: nothing to watch')
  .option('--interval <seconds>', 'between two looks', seconds(0.2, 3_600), 2)
  .option('--duration <minutes>', 'stop by itself after this time', seconds(0.001, 10_080))
  .option('--alert-threshold-lock-wait <ms>', 'a longer wait is an alert (default: health.thresholds.lockWaitMs)', whole(1, 3_600_000))
  .option('--alert-threshold-query-time <ms>', 'a longer look is an alert (default: health.thresholds.queryMs)', whole(1, 3_600_000))
  .addOption(ofSourceOption())
  .addOption(dataDirOption())
  .option('--json', 'one JSON object a line on stdout: samples, alerts, the summary')
  .action(
    async ({
      interval,
      duration,
      alertThresholdLockWait,
      alertThresholdQueryTime,
      ...options
    }: Omit<MonitorOptions, 'intervalS' | 'durationMinutes' | 'lockWaitMs' | 'queryMs'> & {
      interval: number
      duration?: number
      alertThresholdLockWait?: number
      alertThresholdQueryTime?: number
    }) => {
      const { dbMonitor } = await import('./db-monitor-command.ts')
      const code = await dbMonitor(
        {
          ...options,
          intervalS: interval,
          ...(duration === undefined ? {} : { durationMinutes: duration }),
          ...(alertThresholdLockWait === undefined ? {} : { lockWaitMs: alertThresholdLockWait }),
          ...(alertThresholdQueryTime === undefined ? {} : { queryMs: alertThresholdQueryTime }),
        },
        stop.signal,
      )
      endWith(code)
    },
  )

ofState(program.command('status'))
  .description('how everything stands: collectors, circuits, parked writes, the API, alerts, availability, costs, settings')
  .action(async (options: StatusOptions) => {
    const { showStatus } = await import('./status-command.ts')
    process.exitCode = await showStatus(options)
  })

const alerts = program.command('alerts').description("the health check's alerts, and a person's word to them")

ofState(alerts.command('list'))
  .description('what fires and what is watched, the worst first')
  .action(async (options: AlertOptions) => {
    const { listAllAlerts } = await import('./alerts-command.ts')
    process.exitCode = await listAllAlerts(options)
  })

ofState(alerts.command('silence'))
  .description('send none for a while; what happens meanwhile is told at its end')
  .requiredOption('--for <time>', 'it ends by itself after this time, such as 30m, 2h, at most 168h; 0s ends it now', lasting(168))
  .option('--reason <text>', 'why: whoever looks at the alerts sees it', 'no reason given')
  .action(async ({ for: forMs, reason, ...options }: AlertOptions & { for: number; reason: string }) => {
    const { silence } = await import('./alerts-command.ts')
    process.exitCode = await silence({ forMs, reason }, options)
  })

ofState(alerts.command('ack'))
  .description('no reminder of an alert until it is over, or becomes critical')
  .argument('<fingerprint>', 'as `tokay alerts list` shows it, such as lock-wait or freshness:trades')
  .action(async (fingerprint: string, options: AlertOptions) => {
    const { acknowledgeAlert } = await import('./alerts-command.ts')
    process.exitCode = await acknowledgeAlert(fingerprint, options)
  })

/** With microseconds where they are given: not through a Date. */
function instant(text: string): string {
  const [, day, time = 'T00:00', zone = 'Z'] =
    /^(\d{4}-\d\d-\d\d)(?:(T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)(Z|[+-]\d\d:\d\d)?)?$/.exec(text) ?? []
  const isThere = day !== undefined && new Date(Date.parse(`${day}T00:00Z`) || 0).toISOString().startsWith(day)
  if (!isThere || Number.isNaN(Date.parse(day + time + zone)))
    throw new InvalidArgumentError(
      'It must be a time such as 2025-08-28, 2025-08-28T10:30Z or 2025-08-28T10:30:00+02:00; UTC where no zone is said.',
    )
  return day + time + zone
}

program
  .command('export')
  .description('a whole table, to stdout or into a file that appears when it is complete')
  .addArgument(new Argument('<table>', 'which one').choices(exportTableNames))
  .addOption(
    new Option('--format <format>', 'a line a row: comma-separated with a header, or JSON').choices(['csv', 'jsonl']).default('csv'),
  )
  .option('--network <network>', 'rows of this network only, such as solana')
  .option('--from <time>', 'rows from this time on, such as 2025-08-28 or 2025-08-28T10:30Z', instant)
  .option('--to <time>', 'rows before this time', instant)
  .option('--out <file>', 'into this file; one that is there already is replaced at the end')
  .addOption(ofSourceOption())
  .addOption(dataDirOption())
  .action(async (table: ExportTableName, options: ExportOptions) => {
    const { exportTable } = await import('./export-command.ts')
    process.exitCode = await exportTable(table, options, stop.signal)
  })

program
  .command('gaps')
  .description('stretches of time that are not covered whole: the API no longer had everything when it was asked')
  .addOption(ofSourceOption())
  .addOption(dataDirOption())
  .option('--json', 'as JSON on stdout')
  .action(async (options: GapsOptions) => {
    const { showGaps } = await import('./gaps-command.ts')
    process.exitCode = await showGaps(options, stop.signal)
  })

program
  .command('explain')
  .description('what a code in a log or an alert means, what Tokay does about it, and what to do')
  .argument('<code>', 'a SQLSTATE such as 25006, an errno such as ECONNRESET, or a class such as lock-timeout')
  .option('--json', 'as JSON on stdout')
  .action(async (code: string, options: { json?: boolean }) => {
    const { explainCode } = await import('./explain-command.ts')
    process.exitCode = explainCode(code, options)
  })

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof ConfigError) {
    console.error(`tokay: ${error.message}`)
    process.exitCode = 2
  } else {
    console.error(`tokay: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
}
