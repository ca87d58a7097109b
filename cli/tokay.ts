// The command line. Exit codes: 0 done, 1 something failed, 2 used or set up wrongly.
// stdout has what was asked for, stderr what happened on the way.

import { Command, InvalidArgumentError, Option } from 'commander'
import { ConfigError } from '../shared/errors.ts'
import { type CollectorName, collectorNames } from '../shared/names.ts'
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
