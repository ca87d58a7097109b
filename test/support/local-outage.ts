// An outage that meets many instances at once: ticks delivered several times over, replayers beside each other, and a database that hangs up on
// whoever connects, so that connections can be counted.

import { collectorNames } from '../../shared/names.ts'
import type { Invoked } from './local-lambda.ts'
import type { LocalStage } from './local-stage.ts'

export type OutageOfMany = {
  /** What became of the tick of the outage, over all instances, such as { ran: 4, skipped: 2 }. */
  readonly ticked: Readonly<Record<string, number>>
  readonly circuitsOpened: number
  /** While the circuit was open. A probe that failed is told of once, by the one who made it. */
  readonly probes: number
  readonly connections: number
  readonly waiting: number
  readonly replayed: number
  readonly failed: readonly Invoked[]
}

/** The replayers' own time has to end: `timeoutMs` of replay-parked should be short. */
export async function outageOfMany(stage: LocalStage, count: { collects: number; replays: number }): Promise<OutageOfMany> {
  const { functions, proxy, parked, events } = stage
  // of one collector's ticks, a second apart, one is due
  const tick = (hour: number, n: number) => {
    const scheduledAt = new Date(Date.UTC(2025, 8, 15, hour) + n * 1_000).toISOString()
    return functions.collect.invoke({ collector: collectorNames[n % collectorNames.length], scheduledAt })
  }
  const times = <Made>(many: number, make: (n: number) => Promise<Made>) => Promise.all(Array.from({ length: many }, (_, n) => make(n)))
  const ofCircuit = (name: string) => events(name).filter((event) => event['scope'] === 'database').length

  for (const [n] of collectorNames.entries()) await tick(1, n)
  await proxy.mode({ kind: 'accept-then-close' })
  // whoever is warm still has a connection
  await stage.terminateSessions()
  const outage = await times(count.collects, (n) => tick(3, n))

  const [reopened, accepted] = [ofCircuit('circuit.reopened'), proxy.accepted]
  const [vainly, later] = await Promise.all([
    times(count.replays, () => functions.replay.invoke()),
    times(count.collects, (n) => tick(5, n)),
  ])
  const [probes, connections, waiting] = [ofCircuit('circuit.reopened') - reopened, proxy.accepted - accepted, parked.messages.length]

  await proxy.mode({ kind: 'pass' })
  const drained: Invoked[] = []
  for (let round = 0; round < 5 && parked.messages.length > 0; round++) {
    drained.push(...(await times(count.replays, () => functions.replay.invoke())))
  }
  return {
    ticked: countBy(outage, (invoked) => ('payload' in invoked ? (invoked.payload as { kind: string }).kind : 'failed')),
    circuitsOpened: ofCircuit('circuit.opened'),
    probes,
    connections,
    waiting,
    replayed: drained.reduce((sum, invoked) => sum + ('payload' in invoked ? (invoked.payload as { replayed: number }).replayed : 0), 0),
    failed: [...outage, ...vainly, ...later, ...drained].filter((invoked) => 'failed' in invoked),
  }
}

function countBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const item of items) counts[keyOf(item)] = (counts[keyOf(item)] ?? 0) + 1
  return counts
}
