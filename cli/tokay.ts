// The command line. Exit codes: 0 done, 1 something failed, 2 used or set up wrongly.
// stdout has what was asked for, stderr what happened on the way.

import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import { ConfigError } from '../shared/errors.ts'
import { type CollectorName, collectorNames } from '../shared/names.ts'
import type { DrillOptions } from './drill.ts'
import type { BreakerOptions } from './breaker-command.ts'
import { durationMs, isScope } from './breaker-words.ts'
import type { QuarantineOptions } from './quarantine-command.ts'
import type { StartOptions } from './start.ts'

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
  .option('--once', 'each collector once, then exit')
  .option('--duration <seconds>', 'stop by itself after this time', whole(1, 31_536_000))
  .addOption(dataDirOption())
  .addOption(portOption())
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
  new Option('--source <source>', 'whose data: each source has its own').choices(['live', 'simulator', 'replay']).default('live')

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

function lasting(text: string): number {
  const ms = durationMs(text)
  if (ms === undefined)
    throw new InvalidArgumentError('It must be a time such as 30s, 5m or 2h, at most 24h; 0s takes an earlier word back.')
  return ms
}

function scope(text: string): string {
  if (!isScope(text)) throw new InvalidArgumentError('It must be database, gecko, stream:dexes, stream:pools or stream:trades.')
  return text
}

const breaker = program.command('breaker').description("the circuit breakers of this machine, and an operator's word over them")

breaker
  .command('list')
  .description('the state of the circuits')
  .addArgument(new Argument('[scope]', 'this one').argParser(scope))
  .addOption(ofSourceOption())
  .addOption(dataDirOption())
  .option('--json', 'as JSON on stdout')
  .action(async (which: string | undefined, options: BreakerOptions) => {
    const { listBreakers } = await import('./breaker-command.ts')
    process.exitCode = await listBreakers(which, options)
  })

for (const [name, forced, does] of [
  ['open', 'open', 'let nothing through for a while: what is collected is parked'],
  ['close', 'closed', 'let everything through for a while, whatever fails'],
] as const) {
  breaker
    .command(name)
    .description(does)
    .addArgument(new Argument('[scope]', 'which').argParser(scope).default('database'))
    .option('--for <time>', 'it ends by itself after this time, such as 30s, 5m, 2h; 0s ends it now', lasting, 30 * 60_000)
    .addOption(ofSourceOption())
    .addOption(dataDirOption())
    .option('--json', 'as JSON on stdout')
    .action(async (which: string, { for: forMs, ...options }: BreakerOptions & { for: number }) => {
      const { forceBreaker } = await import('./breaker-command.ts')
      process.exitCode = await forceBreaker(forced, which, forMs, options)
    })
}

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
