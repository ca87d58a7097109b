// Where the answers come from: the live API when it can be reached, else the built-in simulator, or recorded bodies. It always says which.

import { type Clock, systemClock } from '../shared/clock.ts'
import type { Settings } from '../shared/config.ts'
import { ConfigError } from '../shared/errors.ts'
import { startGeckoReplay } from './local/gecko-replay.ts'
import { startGeckoSimulator, type GeckoSimulator } from './local/gecko-simulator.ts'
import type { Source } from './runtime.ts'

export type SourceChoice = { readonly source?: 'live' | 'simulator' | undefined; readonly replay?: string | undefined }

const reachForMs = 4_000

/** Our own simulator may be asked as fast as it answers. */
const simulatorRequestsPerMinute = 1_000

export type OpenedSource = {
  readonly source: Source
  /** The settings as this source needs them. */
  readonly settings: Settings
  readonly simulator?: GeckoSimulator
  /** One sentence for the user. */
  readonly says: string
}

/** @throws ConfigError when the choice can't be met: the live API was asked for and does not answer, or the recordings can't be read. */
export async function openSource(choice: SourceChoice, settings: Settings, clock: Clock = systemClock): Promise<OpenedSource> {
  if (choice.replay !== undefined) return replay(choice.replay, settings)
  const { baseUrl } = settings.gecko
  if (choice.source === 'simulator') return simulate(settings, clock, 'source: the built-in simulator')
  const unreachable = await whyUnreachable(baseUrl)
  if (unreachable === undefined)
    return { source: { name: 'live', baseUrl, close: async () => {} }, settings, says: `source: the live API at ${new URL(baseUrl).host}` }
  if (choice.source === 'live')
    throw new ConfigError([
      `the live API at ${new URL(baseUrl).host} can't be reached (${unreachable}): check the network, or run with --source simulator`,
    ])
  return simulate(
    settings,
    clock,
    `source: the built-in simulator, because the live API at ${new URL(baseUrl).host} can't be reached (${unreachable})`,
  )
}

/** Any answer of the server counts: a 429 is no reason to show simulated data. */
async function whyUnreachable(baseUrl: string): Promise<string | undefined> {
  try {
    const answer = await fetch(`${baseUrl}/networks?page=1`, { signal: AbortSignal.timeout(reachForMs) })
    await answer.body?.cancel()
    return undefined
  } catch (error) {
    const cause = (error as Error).cause as NodeJS.ErrnoException | undefined
    return cause?.code ?? (error as Error).message
  }
}

async function simulate(settings: Settings, clock: Clock, says: string): Promise<OpenedSource> {
  // remembering everything it served is for tests and the demo: a run of days must not grow
  const simulator = await startGeckoSimulator({ clock, limitPerMinute: simulatorRequestsPerMinute, remember: false })
  return {
    source: { name: 'simulator', baseUrl: simulator.baseUrl, close: () => simulator.close() },
    settings: { ...settings, gecko: { ...settings.gecko, requestsPerMinute: simulatorRequestsPerMinute } },
    simulator,
    says,
  }
}

async function replay(dir: string, settings: Settings): Promise<OpenedSource> {
  const server = await startGeckoReplay({ dir })
  const { gecko, collectors } = settings
  return {
    source: { name: 'replay', baseUrl: server.baseUrl, close: () => server.close() },
    settings: {
      ...settings,
      gecko: { ...gecko, requestsPerMinute: simulatorRequestsPerMinute },
      // every recorded page, however many there are
      collectors: { ...collectors, 'top-pools': { ...collectors['top-pools'], pages: 10 } },
    },
    says: `source: recorded answers in ${dir}`,
  }
}
