// What `cdk.json` says under `tokay`, with the `-c` options put over it, and every rule that has to hold before anything is deployed.
// All problems are told at once: a deploy that fails on one after the other costs an evening.

import { parseSettings, type Settings } from '../shared/config.ts'
import { ConfigError } from '../shared/errors.ts'
import { collectorNames } from '../shared/names.ts'
import { problemsOnAws } from './limits.ts'

/** A function's environment holds 4 KB in all; the rest of it is queue URLs and names. */
const maxInputBytes = 3_000

/** What `-c` takes. */
const options = ['stage', 'alertEmail', 'alertPhone', 'collectors', 'connectionLimit'] as const

/** `input` is what the functions are given: the settings without their defaults, and without what only the deployment has to know. */
export type StackSettings = { readonly settings: Settings; readonly input: string }

type Written = Readonly<Record<string, unknown>>
const asObject = (value: unknown): Written => (typeof value === 'object' && value !== null ? { ...value } : {})

/**
 * @param context everything that the CDK knows by key: cdk.json, `-c`, and keys of its own.
 * @throws ConfigError with every problem.
 */
export function settingsFromContext(context: Written): StackSettings {
  const { stage, alertEmail: email, alertPhone: phone, connectionLimit } = context
  const { alerts, aws, ...written } = asObject(context['tokay'])
  const problems = unknownOptions(context)

  const chosen = chosenCollectors(context['collectors'], problems)
  const functionsRead = {
    ...written,
    ...(stage !== undefined && { stage }),
    ...(chosen && { collectors: onlyThese(chosen, asObject(written['collectors'])) }),
  }
  const receivers = { ...asObject(alerts), ...(email !== undefined && { email }), ...(phone !== undefined && { phone }) }
  const deployment = { ...asObject(aws), ...(connectionLimit !== undefined && { connectionLimit: wholeNumber(connectionLimit) }) }

  // Apart from each other, so that a bad phone number does not hide what is wrong with the connections.
  const withoutReceivers = parse({ ...functionsRead, aws: deployment })
  problems.push(...('problems' in withoutReceivers ? withoutReceivers.problems : problemsOnAws(withoutReceivers.settings)))
  const receiversAlone = parse({ alerts: receivers })
  if ('problems' in receiversAlone) problems.push(...receiversAlone.problems)
  if (!('email' in receivers) && !('phone' in receivers)) {
    problems.push('nobody would receive an alert: add -c alertEmail=you@example.com, or tokay.alerts.email in cdk.json')
  }
  const input = JSON.stringify(functionsRead)
  const bytes = Buffer.byteLength(input)
  if (bytes > maxInputBytes) {
    problems.push(`the settings take ${bytes} bytes, a function's environment has room for ${maxInputBytes}; name fewer pools or DEXes`)
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return { settings: parseSettings({ ...functionsRead, alerts: receivers, aws: deployment }), input }
}

function parse(input: Written): { settings: Settings } | { problems: readonly string[] } {
  try {
    return { settings: parseSettings(input) }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { problems: error.problems }
  }
}

/** The CDK takes any key and says nothing: `-c alertMail=` would be a stack that tells nobody. Its own keys have a colon, a slash or a dash. */
function unknownOptions(context: Written): string[] {
  const ours = new Set<string>([...options, 'tokay'])
  return Object.keys(context)
    .filter((key) => /^\w+$/.test(key) && !ours.has(key))
    .map((key) => `-c ${key}= is not an option; there are ${options.join(', ')}`)
}

/** `none`, or names with commas between them. Undefined: as cdk.json says. */
function chosenCollectors(option: unknown, problems: string[]): readonly string[] | undefined {
  if (option === undefined) return undefined
  const names = option === 'none' ? [] : String(option).split(',')
  const unknown = names.filter((name) => !collectorNames.some((known) => known === name))
  if (unknown.length === 0) return names
  problems.push(`-c collectors=${String(option)} must be "none", or names with commas between them, of ${collectorNames.join(', ')}`)
  return undefined
}

const onlyThese = (chosen: readonly string[], written: Written) => ({
  ...written,
  ...Object.fromEntries(collectorNames.map((name) => [name, { ...asObject(written[name]), enabled: chosen.includes(name) }])),
})

/** `-c` gives text. What is no number stays as it is, for the schema to refuse. */
const wholeNumber = (value: unknown) => (typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value)
