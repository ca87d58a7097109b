// What `cdk.json` says under `tokay`, with `-c stage=`, `-c alertEmail=` and `-c alertPhone=` put over it, and the rules that only AWS has.

import { parseSettings, type Settings } from '../shared/config.ts'
import { ConfigError } from '../shared/errors.ts'

/** A function's environment holds 4 KB in all; the rest of it is queue URLs and names. */
const maxInputBytes = 3_000

/** `input` is what the functions are given: the settings without their defaults, and without the receivers, whom only the topic has to know. */
export type StackSettings = { readonly settings: Settings; readonly input: string }

/** @throws ConfigError with every problem. */
export function settingsFromContext(context: (key: string) => unknown): StackSettings {
  const written = (context('tokay') ?? {}) as { alerts?: object }
  const [stage, email, phone] = [context('stage'), context('alertEmail'), context('alertPhone')]
  const { alerts, ...rest } = { ...written, ...(stage !== undefined && { stage }) }
  const receivers = { ...alerts, ...(email !== undefined && { email }), ...(phone !== undefined && { phone }) }

  const { settings, problems } = parsed({ ...rest, alerts: receivers })
  if (!('email' in receivers) && !('phone' in receivers)) {
    problems.push('nobody would receive an alert: add -c alertEmail=you@example.com, or tokay.alerts.email in cdk.json')
  }
  const input = JSON.stringify(rest)
  if (input.length > maxInputBytes) {
    problems.push(
      `the settings take ${input.length} bytes, a function's environment has room for ${maxInputBytes}; name fewer pools or DEXes`,
    )
  }
  if (!settings || problems.length > 0) throw new ConfigError(problems)
  return { settings, input }
}

function parsed(input: unknown): { settings: Settings | undefined; problems: string[] } {
  try {
    return { settings: parseSettings(input), problems: [] }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { settings: undefined, problems: [...error.problems] }
  }
}
