// The stampede: instances in several processes rush at one circuit over one SQLite file, round after round; their probers die silently, are
// killed, are frozen and come back late, fail, and close. Time is told, not waited for, so a lease of 15 s costs nothing.

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createSqliteStateTable } from '../../cli/local/sqlite-state-table.ts'
import type { BreakerState } from '../../shared/resilience/circuit-breaker.ts'
import type { Answer, Order } from './stampede-process.ts'

const rules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
/** Longer than any open time, jitter included. */
const longMs = 70_000

export type StampedeResult = {
  /** How often a rush at a due circuit gave so many probes; the same within a living lease. */
  readonly probesPerLease: Readonly<Record<string, number>>
  readonly probesWithinLease: Readonly<Record<string, number>>
  /** What verdicts came to, by who gave them, such as `late success: none`. */
  readonly verdicts: Readonly<Record<string, number>>
}

type Member = { readonly child: ChildProcess; ask(order: Order): Promise<Answer> }

/** @param every how often a prober's process is killed, and frozen: starting processes is what takes the time */
export async function stampede(options: {
  file: string
  rounds: number
  processes: number
  instances: number
  every: number
}): Promise<StampedeResult> {
  const { file, rounds, processes, instances, every } = options
  let nowMs = Date.parse('2025-11-21T10:00:00Z')
  const table = createSqliteStateTable(file)
  const due: BreakerState = { state: 'open', epoch: 1, openedAtMs: nowMs, retryAtMs: nowMs, streak: 1, token: null, reason: 'refused' }
  await table.compareAndSet('breaker:database', 0, due)
  const result = { probesPerLease: {}, probesWithinLease: {}, verdicts: {} } as Record<keyof StampedeResult, Record<string, number>>
  const count = (where: keyof StampedeResult, what: string | number) => void (result[where][what] = (result[where][what] ?? 0) + 1)

  const members = await Promise.all(Array.from({ length: processes }, () => start(file, instances)))

  /** Everybody asks; answers who may probe. */
  async function rush(round: number, where: 'probesPerLease' | 'probesWithinLease', who: readonly Member[] = members) {
    const answers = await Promise.all(who.map((member) => member.ask({ do: 'admit', round, nowMs })))
    count(where, answers.flatMap(({ verdicts }) => verdicts).filter((verdict) => verdict === 'probe').length)
    return who.find((_, i) => answers[i]?.verdicts.includes('probe')) as Member
  }
  async function tell(name: string, member: Member, order: Order) {
    for (const kind of (await member.ask(order)).transitions) count('verdicts', `${name}: ${kind}`)
  }

  try {
    for (let round = 0; round < rounds; round++) {
      const prober = await rush(round, 'probesPerLease')
      nowMs += rules.leaseForMs - 1
      await rush(round, 'probesWithinLease')
      nowMs += 1
      if (round % every === 0) {
        prober.child.kill('SIGKILL')
        await once(prober.child, 'exit')
        members[members.indexOf(prober)] = await start(file, instances)
      } else if (round % every === 1) {
        prober.child.kill('SIGSTOP')
        const second = await rush(
          round,
          'probesPerLease',
          members.filter((member) => member !== prober),
        )
        prober.child.kill('SIGCONT')
        await tell('late success', prober, { do: 'record-probe', round, outcome: 'success', nowMs })
        await tell('failure in time', second, { do: 'record-probe', round, outcome: 'failure', nowMs })
        nowMs += longMs
      } else if (round % every === 2) {
        // the second time in time: this round's probe is the newest
        const second = await rush(round + rounds, 'probesPerLease')
        await tell('late failure', prober, { do: 'record-probe', round, outcome: 'failure', nowMs })
        await tell('success in time', second, { do: 'record-probe', round: round + rounds, outcome: 'success', nowMs })
        await Promise.all(members.map((member) => member.ask({ do: 'admit', round, nowMs: nowMs + 5_000 })))
        nowMs += 5_000
        await Promise.all(members.map((member) => tell('failure of all', member, { do: 'record-all', outcome: 'failure', nowMs })))
        nowMs += longMs
      }
    }
  } finally {
    for (const { child } of members) child.kill('SIGKILL')
    await table.close()
  }
  return result
}

async function start(file: string, instances: number): Promise<Member> {
  const child = fork(path.join(import.meta.dirname, 'stampede-process.ts'), [file, String(instances), JSON.stringify(rules)], {
    execArgv: [],
  })
  await once(child, 'message')
  let asked = Promise.withResolvers<Answer>()
  child.on('message', (answer: Answer) => asked.resolve(answer))
  child.on('exit', () => asked.reject(new Error('a process of the stampede ended while it was asked')))
  asked.promise.catch(() => {}) // nobody is asking
  return {
    child,
    ask(order) {
      asked = Promise.withResolvers()
      child.send(order)
      return asked.promise
    },
  }
}
