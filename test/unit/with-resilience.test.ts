import { describe, expect, it, vi } from 'vitest'
import { AmbiguousOutcomeError, CircuitOpenError, DeadlineExceededError } from '../../shared/errors.ts'
import { silentLog } from '../../shared/log.ts'
import { createBreaker } from '../../shared/state/breaker.ts'
import { createMemoryStateTable } from '../../shared/state/memory-state-table.ts'
import { createWithResilience, type Operation, type OperationOptions } from '../../shared/with-resilience.ts'
import { createFakeClock } from '../support/fake-clock.ts'
import { lost } from '../support/fake-database.ts'

const breakerRules = { failures: 3, withinMs: 60_000, openForMs: 5_000, maxOpenForMs: 60_000, leaseForMs: 15_000 }

/** `random` 0.5: half of each back-off, no jitter. Scopes share a state table, as instances do. */
function build(table = createMemoryStateTable()) {
  const clock = createFakeClock()
  const chance = { clock, random: () => 0.5, log: silentLog }
  const breakerOf = (scope: string) =>
    createBreaker({ ...chance, scope, key: `breaker:own:${scope}`, table, rules: breakerRules, viewForMs: 0 })
  const withResilience = createWithResilience({ ...chance, breakerOf, rules: { attempts: 3, baseMs: 500, capMs: 5_000 } })
  return { clock, table, withResilience }
}

/** Fails as often as it is told, then answers. */
function failing(times: number, error: unknown = new Error('503')) {
  const operation = vi.fn<Operation<string>>(async () => {
    if (operation.mock.calls.length <= times) throw error
    return 'answer'
  })
  return operation
}

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => new Error('it succeeded'),
    (error: unknown) => error,
  )

describe('withResilience', () => {
  it('answers what the operation answers, and tries it again with full jitter when it fails', async () => {
    const { withResilience, clock } = build()
    const operation = failing(2)
    expect(await withResilience('rates', operation)).toBe('answer')
    expect(operation).toHaveBeenCalledTimes(3)
    expect(clock.sleptMs).toEqual([250, 500])
  })

  it('hands up the last failure itself, which has opened the circuit; then nothing is tried for anyone of that scope', async () => {
    const table = createMemoryStateTable()
    const { withResilience } = build(table)
    const error = new Error('connect ECONNREFUSED')
    expect(await failureOf(withResilience('rates', failing(9, error)))).toBe(error)
    const elsewhere = failing(0)
    expect(await failureOf(build(table).withResilience('rates', elsewhere))).toMatchObject({ name: 'CircuitOpenError', scope: 'rates' })
    expect(elsewhere).not.toHaveBeenCalled()
    expect(await withResilience('prices', failing(0))).toBe('answer')
  })

  it('lets one call through when a probe is due, and its answer closes the circuit', async () => {
    const { withResilience, clock } = build()
    await failureOf(withResilience('rates', failing(9)))
    expect(await failureOf(withResilience('rates', failing(0)))).toBeInstanceOf(CircuitOpenError)
    clock.advance(5_000)
    expect(await withResilience('rates', failing(0))).toBe('answer')
    expect(await withResilience('rates', failing(0))).toBe('answer')
  })

  it.each<[string, unknown, OperationOptions, number]>([
    ['anything', new Error('503'), {}, 3],
    ['what is no Error', 'gone', {}, 3],
    ['a fetch that could not connect', new TypeError('fetch failed', { cause: new Error('ECONNREFUSED') }), {}, 3],
    ['a mistake of the program', new TypeError('rates is undefined'), {}, 1],
    ['what the caller calls an answer', new Error('404'), { isTrouble: (error) => (error as Error).message !== '404' }, 1],
    ['what the caller calls trouble', new TypeError('no json'), { isTrouble: () => true }, 3],
    ['an operation that may be made once', new Error('503'), { attempts: 1 }, 1],
    ['an operation that may be made twice', new Error('503'), { attempts: 2 }, 2],
  ])('tries %s as often as that allows', async (_what, error, options, attempts) => {
    const operation = failing(9, error)
    expect(await failureOf(build().withResilience('rates', operation, options))).toBe(error)
    expect(operation).toHaveBeenCalledTimes(attempts)
  })

  it.each([
    ['an unknown outcome', new AmbiguousOutcomeError('add', lost())],
    ["a statement's failure", lost()],
    ["another scope's open circuit", new CircuitOpenError('database', 1_000)],
    ['a deadline', new DeadlineExceededError('add: too late')],
  ])('hands up %s of a client inside it at once, whatever the caller calls trouble, and counts nothing', async (_what, error) => {
    const { withResilience, table } = build()
    const operation = failing(9, error)
    for (let i = 0; i < 3; i++) expect(await failureOf(withResilience('rates', operation, { isTrouble: () => true }))).toBe(error)
    expect(operation).toHaveBeenCalledTimes(3)
    expect(await table.list()).toEqual([])
  })

  it('an answer shows that the other side is there: it closes the circuit for a probe', async () => {
    const { withResilience, clock } = build()
    await failureOf(withResilience('rates', failing(9)))
    clock.advance(5_000)
    const isTrouble = () => false
    expect(await failureOf(withResilience('rates', failing(9, new Error('404')), { isTrouble }))).toMatchObject({ message: '404' })
    expect(await withResilience('rates', failing(0))).toBe('answer')
  })

  it('leaves an operation that hangs behind, tells it so, and tries again', async () => {
    const { withResilience } = build()
    const told: unknown[] = []
    let calls = 0
    const operation: Operation<string> = async ({ signal }) => {
      if (++calls > 1) return 'answer'
      signal.addEventListener('abort', () => told.push(signal.reason))
      return new Promise(() => {})
    }
    expect(await withResilience('rates', operation, { attemptForMs: 20 })).toBe('answer')
    expect(told).toEqual([expect.objectContaining({ name: 'TimeoutError', message: 'rates: no answer within 20 ms' })])
  })

  it('counts a hanging operation as trouble, whatever the caller calls trouble', async () => {
    const { withResilience } = build()
    const hanging: Operation<never> = () => new Promise(() => {})
    const error = await failureOf(withResilience('rates', hanging, { attemptForMs: 5, isTrouble: () => false }))
    expect(error).toMatchObject({ name: 'TimeoutError' })
    expect(await failureOf(withResilience('rates', failing(0)))).toBeInstanceOf(CircuitOpenError)
  })

  it('makes no attempt once the deadline is past, and no retry that would come too late', async () => {
    const { withResilience, clock } = build()
    const operation = failing(9)
    expect(await failureOf(withResilience('rates', operation, { deadlineAtMs: clock.nowMs() }))).toBeInstanceOf(DeadlineExceededError)
    expect(operation).not.toHaveBeenCalled()
    const error = await failureOf(withResilience('rates', operation, { deadlineAtMs: clock.nowMs() + 200 }))
    expect(error).toMatchObject({ name: 'DeadlineExceededError', cause: { message: '503' } })
    expect(operation).toHaveBeenCalledTimes(1)
  })

  it('stops when the caller does', async () => {
    const { withResilience } = build()
    const stop = new AbortController()
    const operation = vi.fn<Operation<never>>(async () => {
      stop.abort()
      throw new Error('503')
    })
    expect(await failureOf(withResilience('rates', operation, { signal: stop.signal }))).toMatchObject({ message: '503' })
    expect(operation).toHaveBeenCalledTimes(1)
  })

  it('has metrics for each scope', async () => {
    const { withResilience } = build()
    await withResilience('rates', failing(1))
    expect(withResilience.metrics('rates')?.last5Minutes).toMatchObject({
      calls: 1,
      attempts: 2,
      retries: 1,
      failures: { trouble: 1 },
      successRate: 1,
    })
    expect(withResilience.metrics('prices')).toBeUndefined()
  })
})
