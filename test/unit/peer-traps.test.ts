// Defects that breakers and retries of others have, or had, each shown not to be ours. The peer is named; what it did stands in the comment.

import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { silentLog } from '../../shared/log.ts'
import { backoffMs } from '../../shared/resilience/backoff.ts'
import { record, type Admission, type BreakerState, type OpenState } from '../../shared/resilience/circuit-breaker.ts'
import { canRetry, fullRetryBudget, spendRetry } from '../../shared/resilience/retry-budget.ts'
import { createBreaker, type Breaker } from '../../shared/state/breaker.ts'
import { claim } from '../../shared/state/claim.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import type { StateTable } from '../../shared/state/state-table.ts'

const rules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }
const startMs = Date.parse('2025-11-21T10:00:00Z')
const key = 'breaker:database'

/** One state table, any number of instances over it, one clock. */
function setup() {
  const clock = { atMs: startMs, nowMs: () => clock.atMs, sleep: () => new Promise<void>((resolve) => setImmediate(resolve)) }
  const memory = createMemoryStateTable()
  const table = {
    reads: 0,
    writes: 0,
    /** How long each answer takes, on the clock. */
    answersAfterMs: 0,
    async list() {
      table.reads++
      const items = await memory.list()
      clock.atMs += table.answersAfterMs
      return items
    },
    async compareAndSet(...change: Parameters<StateTable['compareAndSet']>) {
      table.writes++
      const won = await memory.compareAndSet(...change)
      clock.atMs += table.answersAfterMs
      return won
    },
    close: () => memory.close(),
  }
  const instance = () => createBreaker({ scope: 'database', key, table, rules, clock, random: () => 0.5, log: silentLog })
  const stored = async () => (await memory.list())[0]?.data as BreakerState | undefined
  return { clock, table, instance, stored }
}

async function failThrice(breaker: Breaker): Promise<void> {
  for (let i = 0; i < 3; i++) await breaker.record(await breaker.admit(), 'failure', 'refused')
}

/** A circuit that is open, its first probe due. */
async function due() {
  const made = setup()
  const first = made.instance()
  const slow = await first.admit()
  await failThrice(first)
  made.clock.atMs += 5_000
  return { ...made, first, /** Admitted before it opened. */ slow }
}

const probing = (breaker: Breaker) => breaker.admit({ mayProbe: true })
const verdicts = (admissions: readonly Admission[]) => admissions.map(({ verdict }) => verdict).toSorted()
const many = <Made>(count: number, make: () => Made) => Array.from({ length: count }, make)

describe('traps of cockatiel', () => {
  // its sampling window moves on by one bucket for each call: what failed before the silence stood in it
  it('failures from before an hour of silence do not count after it', async () => {
    const { clock, instance, stored } = setup()
    const breaker = instance()
    for (const atMs of [0, 1_000, 3_600_000, 3_601_000]) {
      clock.atMs = startMs + atMs
      await breaker.record(await breaker.admit(), 'failure')
    }
    expect(await stored()).toMatchObject({ state: 'closed', failedAtMs: [startMs + 3_600_000, startMs + 3_601_000] })
  })

  // any failure during half-open opened it again
  it('a call that was admitted before it opened and fails during the probe does not reopen it', async () => {
    const { first, slow, stored } = await due()
    const probe = await probing(first)
    const before = await stored()
    expect(await first.record(slow, 'failure')).toEqual({ kind: 'none' })
    expect(await stored()).toEqual(before)
    expect((await first.record(probe, 'success')).kind).toBe('closed')
  })

  // all callers waited for the probe's verdict
  it('a probe that hangs holds nobody up: twenty callers are refused at once, and when its lease ends one of them probes', async () => {
    const { clock, first } = await due()
    expect((await probing(first)).verdict).toBe('probe')
    const during = await Promise.all(many(20, () => probing(first)))
    expect(during).toEqual(many(20, () => ({ verdict: 'reject', retryAfterMs: 15_000 })))
    clock.atMs += 15_000
    expect(verdicts(await Promise.all(many(20, () => probing(first))))).toEqual(['probe', ...many(19, () => 'reject')])
  })

  // half-open was saved as open since 1970: each who loaded it probed
  it('of twenty processes that start while a probe is under way none probes, and one does when the lease ends', async () => {
    const { clock, first, instance } = await due()
    await probing(first)
    expect(verdicts(await Promise.all(many(20, () => probing(instance()))))).toEqual(many(20, () => 'reject'))
    clock.atMs += 15_000
    expect(verdicts(await Promise.all(many(20, () => probing(instance()))))).toEqual(['probe', ...many(19, () => 'reject')])
  })
})

describe('traps of opossum', () => {
  // a volume threshold of 0: the first call of all was 100 % of the calls
  it('the first call of all may fail without opening it', async () => {
    const { instance } = setup()
    const breaker = instance()
    await breaker.record(await breaker.admit(), 'failure')
    expect((await breaker.admit()).verdict).toBe('pass')
  })

  // its buckets and its way to half-open are timers, which do not run in a frozen container
  it('a process that was frozen for an hour probes with its first call, without any timer having run', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const { clock, first } = await due()
    expect(vi.getTimerCount()).toBe(0)
    clock.atMs += 3_600_000
    expect((await probing(first)).verdict).toBe('probe')
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('traps of circuitbreaker-lambda', () => {
  // everyone who read HALF-OPEN passed
  it('of fifty instances that find it due at once one probes', async () => {
    const { instance } = await due()
    expect(verdicts(await Promise.all(many(50, () => probing(instance()))))).toEqual(['probe', ...many(49, () => 'reject')])
  })

  // the last writer won, so that a slow success closed what others had opened
  it('a slow success of an instance that still sees it closed does not close it', async () => {
    const { instance, stored } = setup()
    const [slowOne, other] = [instance(), instance()]
    const slow = await slowOne.admit()
    await failThrice(other)
    expect(await slowOne.record(slow, 'success')).toEqual({ kind: 'none' })
    expect((await stored())?.state).toBe('open')
  })

  // two writes a call
  it('a thousand healthy calls read once and write nothing', async () => {
    const { table, instance } = setup()
    const breaker = instance()
    for (let i = 0; i < 1_000; i++) await breaker.record(await breaker.admit(), 'success')
    expect([table.reads, table.writes]).toEqual([1, 0])
  })
})

describe('traps of the AWS Powertools circuit breaker', () => {
  // no lease: when the owner died half-open, everyone was refused until the item's time to live ended, more than an hour later
  it('a prober that dies keeps the others out for its lease of 15 s and no longer', async () => {
    const { clock, first, instance } = await due()
    await probing(first)
    const other = instance()
    clock.atMs += 14_999
    expect(await probing(other)).toEqual({ verdict: 'reject', retryAfterMs: 1 })
    clock.atMs += 1
    expect((await probing(other)).verdict).toBe('probe')
  })

  // the owner was the process, so that each of its threads probed
  it('eight callers of one process are one probe', async () => {
    const { first } = await due()
    expect(verdicts(await Promise.all(many(8, () => probing(first))))).toEqual(['probe', ...many(7, () => 'reject')])
  })

  // an error that it was told to ignore left it half-open
  it("an error that says nothing about the database gives the probe back: the next one may start within 250 ms, and the first one's word counts no more", async () => {
    const { clock, first, instance } = await due()
    const probe = await probing(first)
    await first.record(probe, 'neutral')
    clock.atMs += 250
    expect((await probing(instance())).verdict).toBe('probe')
    expect(await first.record(probe, 'success')).toEqual({ kind: 'none' })
  })

  // save_open and save_closed wrote whatever was there
  it('a last failure from before the recovery does not open it again', async () => {
    const { first, instance, slow, stored } = await due()
    const other = instance()
    await other.record(await probing(other), 'success')
    expect(await first.record(slow, 'failure')).toEqual({ kind: 'none' })
    expect(await stored()).toEqual({ state: 'closed', epoch: 2, failedAtMs: [] })
  })
})

describe('traps of interlock', () => {
  // a round was not named: what a late prober of round n said counted in round n + 1
  it('what the prober of a lease that is over says changes nothing while the next one probes', async () => {
    const { clock, first, instance, stored } = await due()
    const late = await probing(first)
    clock.atMs += 15_000
    const other = instance()
    const probe = await probing(other)
    const before = await stored()
    for (const outcome of ['failure', 'neutral', 'success'] as const) {
      expect(await first.record(late, outcome)).toEqual({ kind: 'none' })
      expect(await stored()).toEqual(before)
    }
    expect((await other.record(probe, 'success')).kind).toBe('closed')
  })
})

describe('traps of Polly', () => {
  // any outcome that came in while half-open decided
  it("while a probe is under way only the prober's word decides", async () => {
    const { first, slow, stored } = await due()
    await probing(first)
    const before = await stored()
    for (const outcome of ['success', 'failure'] as const) {
      await first.record(slow, outcome)
      await first.record({ verdict: 'pass', epoch: 1 }, outcome)
      await first.record({ verdict: 'probe', token: 'another', epoch: 1 }, outcome)
    }
    expect(await stored()).toEqual(before)
  })

  // 2^1024 is Infinity: the wait overflowed, and it retried without any
  it('after a thousand failures and more, waits and open times stay at their caps', () => {
    const random = () => 0.5
    expect([1_023, 1_024, 1_025, 100_000].map((attempt) => backoffMs(attempt, { baseMs: 500, capMs: 5_000 }, random))).toEqual(
      many(4, () => 2_500),
    )
    const admission: Admission = { verdict: 'probe', token: 'mine', epoch: 2_000 }
    const open: OpenState = { state: 'open', epoch: 2_000, openedAtMs: 0, retryAtMs: startMs, streak: 2_000, token: 'mine', reason: null }
    expect(record(open, { admission, outcome: 'failure', nowMs: startMs, rules, random }).result).toMatchObject({ openForMs: 60_000 })
  })
})

describe('traps of retry budgets', () => {
  // 500 tokens for each client, 5 a retry: a hundred retries from each of many short-lived instances bound nothing
  it('an instance to which nothing succeeds makes ten retries in its life', () => {
    let [budget, retries] = [fullRetryBudget, 0]
    for (let failedCall = 0; failedCall < 1_000; failedCall++) {
      if (!canRetry(budget)) continue
      budget = spendRetry(budget)
      retries++
    }
    expect(retries).toBe(10)
  })
})

describe('traps of river', () => {
  // a renewal that was long under way, and succeeded, made the leader trust itself for longer than others did
  it("a slow answer of the state table makes a probe's lease no longer: it ends 15 s after it was asked for", async () => {
    const { clock, table, first, stored } = await due()
    await first.view()
    const askedAtMs = clock.atMs
    table.answersAfterMs = 1_400
    expect((await probing(first)).verdict).toBe('probe')
    expect(clock.atMs).toBe(askedAtMs + 1_400)
    expect(await stored()).toMatchObject({ retryAtMs: askedAtMs + 15_000 })
  })

  it('a view that came late is no younger than the question', async () => {
    const { clock, table, instance } = setup()
    const breaker = instance()
    table.answersAfterMs = 1_400
    await breaker.admit()
    clock.atMs = startMs + 4_999
    await breaker.admit()
    expect(table.reads).toBe(1)
    clock.atMs = startMs + 5_000
    await breaker.admit()
    expect(table.reads).toBe(2)
  })

  it("a run's lease ends leaseForMs after it was asked for, whenever the answer comes", () => {
    const run = { runId: 'run', scheduledAtMs: startMs, nowMs: startMs, baseIntervalMs: 300_000, leaseForMs: 60_000 }
    const { data } = claim(undefined, run)
    expect(data?.lease).toEqual({ runId: 'run', untilMs: startMs + 60_000 })
    expect(claim(data, { ...run, runId: 'other', nowMs: startMs + 60_000 }).result.verdict).toBe('run')
  })
})

describe('traps of several', () => {
  // a wall clock that was set back left it open until the old time came round again
  it.each([-3_600_000, 3_600_000])('a clock that jumps by %i ms leaves an open circuit due at once', async (byMs) => {
    const { clock, instance } = setup()
    await failThrice(instance())
    clock.atMs += byMs
    expect((await probing(instance())).verdict).toBe('probe')
  })
})
