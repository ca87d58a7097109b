// Puts parked batches into the database: exactly once, oldest first, in merged transactions, removed only after the commit.
//
//   queue empty -> done (no database is woken); while the circuit is open: look again, what opened it is about to be parked
//   one batch first: while the circuit is open this is the probe, under its lease
//     committed        -> the circuit is closed; then up to 10 at a time, a transaction for each stream, until the queue is empty or the time is up
//     not available    -> wait, one batch again, for the length of the run
//     stream refused   -> its table is locked, or its schema is behind: its batches are held back, the other streams' go on
//     rows refused     -> into the quarantine, the rest is in (write-merged)
//     not even those   -> as many as were merged are tried one by one, and the one to blame is set aside under its reason
//
// Everything else stays queued until it is in.

import type { Random } from '../clock.ts'
import { confirmGaps } from '../db/queries.ts'
import { CircuitOpenError, TooManyBadRowsError } from '../errors.ts'
import { stateKeys } from '../names.ts'
import { classifyFailure } from '../resilience/classify-failure.ts'
import { accepted, refused, type Refusal, type Refusals } from '../state/refusals.ts'
import { updateItem, type Decision, type StateTable } from '../state/state-table.ts'
import { mergeBatches, rowCount, streamOf } from './batch.ts'
import { createHeldBatches } from './held-batches.ts'
import type { Received } from './parked-writes.ts'
import { writeMerged } from './write-merged.ts'
import type { WriteTools } from './write-or-park.ts'

export type ReplayTools = WriteTools & { readonly state: StateTable; readonly random: Random }

export type ReplayRequest = {
  readonly deadlineAtMs: number
  readonly signal?: AbortSignal
  readonly onProgress?: (replayed: number, left: number) => void
}

/** Batches, but for `rows` and `quarantined`. */
export type ReplayResult = {
  readonly replayed: number
  readonly rows: number
  readonly quarantined: number
  readonly setAside: number
  readonly left: number
}

const mergedBatches = 10
/** Asking again whether the database, or a stream, is there; an open circuit says itself when, but somebody else may close it. */
const askEveryMs = 5_000
/** Never a tight loop. */
const leastWaitMs = 50
/** Whoever has opened the circuit parks its batch within about this time. */
const lookEveryMs = 1_000

/** Runs until the queue is empty, the deadline is near or `signal` aborts. Throws only when the queue itself fails; nothing stays in hand. */
export async function replayParked(tools: ReplayTools, request: ReplayRequest): Promise<ReplayResult> {
  const { parked, clock, log, database } = tools
  const { deadlineAtMs, signal } = request
  const total = { replayed: 0, rows: 0, quarantined: 0, setAside: 0 }
  const held = createHeldBatches()
  let left = await parked.depth()
  if (left === 0 && !(await database.isOpen())) return { ...total, left }
  const refusals = await openRefusals(tools)
  let hadSome = left > 0
  /** So many are tried one by one. */
  let alone = 1
  let waitMs = left > 0 ? 0 : lookEveryMs

  /** Answers how long to wait before the next one. */
  async function turn(): Promise<number> {
    const due = held.takeDue(clock.nowMs())
    if (due.length > 0) await parked.release(due)
    const received = await parked.receive(alone > 0 ? 1 : mergedBatches)
    let nextAlone = Math.max(0, alone - 1)
    try {
      const hands = byStream(received)
      for (const [n, { stream, hand }] of hands.entries()) {
        const heldUntilMs = held.untilMs(stream)
        const verdict: Verdict = heldUntilMs === undefined ? await replay(hand, tools, request) : { kind: 'held', untilMs: heldUntilMs }
        if (verdict.kind === 'unavailable') {
          await parked.release(receiptsOf(hands.slice(n).flatMap((h) => h.hand)))
          alone = Math.max(1, alone)
          return verdict.waitMs
        }
        if (verdict.kind === 'too-many') nextAlone = Math.max(nextAlone, hand.length)
        await settle(stream, hand, verdict)
      }
    } catch (error) {
      // the queue has failed: in the hand of a process that lives on, they would wait for its end
      await parked.release(receiptsOf(received)).catch((second: unknown) => log.error({ event: 'parked-writes.unreleased', error: second }))
      throw error
    }
    alone = nextAlone
    return received.length > 0 ? 0 : waitForMore()
  }

  async function settle(stream: string, hand: readonly Received[], verdict: Exclude<Verdict, { kind: 'unavailable' }>): Promise<void> {
    const receipts = receiptsOf(hand)
    switch (verdict.kind) {
      case 'committed':
        await parked.remove(receipts)
        total.replayed += hand.length
        total.rows += hand.reduce((sum, r) => sum + rowCount(r.write.batch), 0)
        total.quarantined += verdict.quarantined
        await refusals.ended(stream)
        break
      case 'too-many':
        await parked.release(receipts)
        break
      case 'set-aside':
        for (const one of hand) await parked.setAside(one, verdict.reason)
        total.setAside += hand.length
        log.error({ event: 'parked-write.set-aside', collector: hand[0]?.write.collector, reason: verdict.reason, error: verdict.error })
        break
      case 'held':
        held.hold(verdict.untilMs === endOfRun ? `batch ${receipts.join()}` : stream, receipts, verdict.untilMs)
        if (verdict.refusal) await refusals.began(stream, verdict.refusal)
        break
      default:
        verdict satisfies never
    }
  }

  /** Nothing was received: it waits for its stream, or is in somebody else's hand, or is not parked yet. */
  function waitForMore(): number {
    const nextAtMs = held.nextAtMs()
    if (left === 0) return lookEveryMs
    return nextAtMs === undefined ? Infinity : Math.min(Math.max(nextAtMs - clock.nowMs(), 1), askEveryMs)
  }

  try {
    while ((left > 0 || (await database.isOpen())) && clock.nowMs() + waitMs < deadlineAtMs) {
      if (waitMs > 0) await clock.sleep(waitMs, signal)
      if (signal?.aborted) break
      waitMs = await turn()
      left = await parked.depth()
      hadSome ||= left > 0
      request.onProgress?.(total.replayed, left)
    }
  } finally {
    const inHand = held.takeAll()
    if (inHand.length > 0) await parked.release(inHand)
  }
  if (hadSome && left === 0) {
    await refusals.ended()
    await database
      .query(confirmGaps, { deadlineAtMs, repeat: 'idempotent' })
      .catch((error: unknown) => log.warn({ event: 'gaps.unconfirmed', error }))
  }
  if (total.replayed > 0) log.info({ event: 'parked-writes.replayed', batches: total.replayed, rows: total.rows, left })
  return { ...total, left }
}

/** Until the end of this run: the next one tries it again. */
const endOfRun = Infinity

type Verdict =
  | { readonly kind: 'committed'; readonly quarantined: number }
  /** One of them is bad, or they are too much for one transaction. */
  | { readonly kind: 'too-many' }
  /** The database takes neither the batch nor a row of it, not even into the quarantine. */
  | { readonly kind: 'set-aside'; readonly reason: string; readonly error: unknown }
  /** The database is there, but does not take the stream's batches; or, at the end of the run, this one. */
  | { readonly kind: 'held'; readonly untilMs: number; readonly refusal?: Pick<Refusal, 'class' | 'message'> }
  | { readonly kind: 'unavailable'; readonly waitMs: number }

async function replay(hand: readonly Received[], tools: ReplayTools, { deadlineAtMs, signal }: ReplayRequest): Promise<Verdict> {
  const batch = mergeBatches(hand.map((r) => r.write.batch))
  const originOf = (row: object) => {
    const isOf = ({ write }: Received) => Object.values(write.batch).some((rows: readonly object[]) => rows.includes(row))
    const { collector, runId, parkedAtMs: seenAtMs } = (hand.find(isOf) ?? (hand[0] as Received)).write
    return { collector, runId, seenAtMs }
  }
  try {
    const options = { deadlineAtMs, signal, late: true, mayProbe: true, isParked: true, originOf }
    const { quarantined } = await writeMerged(batch, tools, options)
    return { kind: 'committed', quarantined: quarantined.length }
  } catch (error) {
    const nowMs = tools.clock.nowMs()
    if (error instanceof CircuitOpenError) {
      const waitMs = Math.max(error.retryAfterMs, leastWaitMs)
      if (error.scope !== 'database') return { kind: 'held', untilMs: nowMs + waitMs }
      return { kind: 'unavailable', waitMs: Math.min(waitMs, askEveryMs) }
    }
    const isTooMuch = error instanceof TooManyBadRowsError
    const failure = classifyFailure(isTooMuch ? error.cause : error)
    const isOfTheRows = isTooMuch || failure.keeps === 'quarantine' || failure.class === 'too-large' || failure.class === 'bug'
    if (isOfTheRows && hand.length > 1) return { kind: 'too-many' }
    const refusal = { class: failure.class, message: (error as Error).message }
    if (isTooMuch || failure.class === 'bug') return { kind: 'held', untilMs: endOfRun, refusal }
    if (isOfTheRows) return { kind: 'set-aside', reason: failure.class, error }
    if (failure.signOfLife) {
      // also a stream that met contention only: its table may be locked for hours, and the others have nothing to do with it
      return { kind: 'held', untilMs: nowMs + askEveryMs, ...(failure.alert ? { refusal } : {}) }
    }
    // asked again, an open circuit says to the millisecond when its next probe is due, and opens no connection for that
    return { kind: 'unavailable', waitMs: (await tools.database.isOpen()) ? leastWaitMs : askEveryMs }
  }
}

/** Batches of one stream go in together: a transaction waits for one stream's locks only. In the order in which they came. */
function byStream(received: readonly Received[]): readonly { stream: string; hand: readonly Received[] }[] {
  const hands = Map.groupBy(received, ({ write }) => streamOf(write.batch) ?? 'other')
  return [...hands].map(([stream, hand]) => ({ stream, hand }))
}

const receiptsOf = (received: readonly Received[]) => received.map((r) => r.receipt)

/** Tells the health check of refusals, when one begins or ends. Without the state table the log alone has them. */
async function openRefusals({ state, clock, random, log }: ReplayTools) {
  const untold = (error: unknown) => log.warn({ event: 'refusals.untold', error })
  let known = await state.list().then(
    (items) => items.find((item) => item.key === stateKeys.refusals)?.data as Refusals | undefined,
    (error: unknown) => void untold(error),
  )
  async function change(decide: (stored: Refusals | undefined) => Decision<Refusals, void>): Promise<void> {
    const { data } = decide(known)
    if (data === undefined) return
    known = data
    await updateItem(state, stateKeys.refusals, decide, { clock, random }).catch(untold)
  }
  return {
    async began(stream: string, { class: failureClass, message }: Pick<Refusal, 'class' | 'message'>) {
      const refusal = { class: failureClass, message, sinceMs: clock.nowMs() }
      log.error({ event: 'parked-writes.refused', stream, class: failureClass, message })
      await change((stored) => refused(stored, stream, refusal))
    },
    /** Without a stream: all of them. */
    ended: (stream?: string) => change((stored) => accepted(stored, stream)),
  }
}
