// Parked writes on SQS, over HTTP: the real SDK against a strict fake.

import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sqsParkedWrites } from '../../shared/aws/sqs-parked-writes.ts'
import { emptyBatch } from '../../shared/collect/batch.ts'
import type { ParkedWrite } from '../../shared/collect/parked-writes.ts'
import type { LogEvent } from '../../shared/log.ts'
import type { DexRow } from '../../shared/model.ts'
import { type FakeAws, startFakeAws } from '../support/fake-aws.ts'
import { incident, sample } from '../support/rows.ts'

let aws: FakeAws
let logged: LogEvent[]
const log = { info: () => {}, warn: (event: LogEvent) => logged.push(event), error: (event: LogEvent) => logged.push(event) }

beforeEach(async () => {
  aws = await startFakeAws()
  logged = []
})
afterEach(() => aws.close())

const parkedWrite = (changes: Partial<ParkedWrite> = {}): ParkedWrite => ({
  id: 'new-pools/2025-09-15T06:46:00Z/1',
  schemaVersion: 1,
  collector: 'new-pools',
  runId: '2025-09-15T06:46:00Z',
  parkedAtMs: Date.UTC(2025, 8, 15, 6, 46, 3),
  reason: 'circuit-open',
  batch: { ...emptyBatch, dexes: [{ network: 'solana', dex: 'pumpswap', name: '泵 🐸', observedAtMs: 1_757_918_760_000 }] },
  ...changes,
})

function queues() {
  const [main, dead] = [aws.addQueue('parked'), aws.addQueue('dead')]
  return { main, dead, parked: sqsParkedWrites({ queueUrl: main.url, deadLetterUrl: dead.url, aws: aws.target, log }) }
}

/** Names that gzip can't shrink, as addresses can't be. */
const incompressibleDexes = (count: number): DexRow[] =>
  Array.from({ length: count }, (_, i) => ({
    network: 'solana',
    dex: `dex-${i}`,
    name: Array.from({ length: 10 }, (__, j) => ((i * 7919 + j * 104_729 + 1) ** 3).toString(36)).join(''),
    observedAtMs: 1_757_918_760_000,
  }))

const inOrder = (gaps: readonly { stream: string }[]) => gaps.map((gap) => gap.stream).toSorted()

describe('parked writes on SQS', () => {
  it('a write comes back as it was parked, and is gone once removed', async () => {
    const { main, parked } = queues()
    await parked.park(parkedWrite())
    const received = await parked.receive(10)

    expect(received.map((r) => r.write)).toEqual([parkedWrite()])
    await parked.remove(received.map((r) => r.receipt))
    expect(main.queue.messages).toEqual([])
  })

  it('looks and outages of the health check come back, and a batch that was parked before there were any has none', async () => {
    const { main, parked } = queues()
    const whole = parkedWrite({ schemaVersion: 2, batch: { ...emptyBatch, samples: [sample()], incidents: [incident()] } })
    await parked.park(whole)
    const { samples: _samples, incidents: _incidents, ...before } = parkedWrite().batch
    const old = { ...parkedWrite({ parkedAtMs: 1 }), batch: before }
    main.queue.sendMessage({ MessageBody: gzipSync(JSON.stringify(old)).toString('base64') })

    expect((await parked.receive(10)).map((r) => r.write)).toEqual([parkedWrite({ parkedAtMs: 1 }), whole])
  })

  it('the reason can be read in the console without decoding', async () => {
    const { main, parked } = queues()
    await parked.park(parkedWrite({ reason: 'connection\u0007' }))

    expect(main.queue.messages[0]?.attributes).toEqual({ reason: 'connection?', collector: 'new-pools' })
  })

  it('a batch above 200 KB is split by rows, and every row arrives exactly once', async () => {
    const { main, parked } = queues()
    const dexes = incompressibleDexes(2_500)
    const gaps = dexes.map((dex) => ({ stream: dex.name, fromMs: 1, toMs: 2, reason: 'page full', status: 'open' }) as const)
    await parked.park(parkedWrite({ batch: { ...emptyBatch, dexes, gaps } }))

    expect(main.queue.messages.length).toBeGreaterThan(1)
    expect(Math.max(...main.queue.messages.map((m) => m.body.length))).toBeLessThanOrEqual(204_800)
    const received = await parked.receive(10)
    const stored = received.flatMap((r) => r.write.batch.dexes)
    expect(stored.toSorted((a, b) => Number(a.dex.slice(4)) - Number(b.dex.slice(4)))).toEqual(dexes)
    expect(inOrder(received.flatMap((r) => r.write.batch.gaps))).toEqual(inOrder(gaps))
    expect(new Set(received.map((r) => r.write.id)).size).toBe(received.length)
  })

  it('depth counts what waits and what is being replayed', async () => {
    const { parked } = queues()
    await parked.park(parkedWrite({ id: 'a' }))
    await parked.park(parkedWrite({ id: 'b' }))
    await parked.receive(1)

    expect(await parked.depth()).toBe(2)
    expect(await queues().parked.depth()).toBe(0)
  })

  it('what was received is not received again until 60 s have passed', async () => {
    const { parked } = queues()
    await parked.park(parkedWrite())
    await parked.receive(10)

    aws.passTime(59_000)
    expect(await parked.receive(10)).toEqual([])
    aws.passTime(2_000)
    expect(await parked.receive(10)).toHaveLength(1)
  })

  it('what is released is received again at once', async () => {
    const { parked } = queues()
    await parked.park(parkedWrite())
    const [received] = await parked.receive(10)
    await parked.release([received?.receipt ?? ''])

    expect(await parked.receive(10)).toHaveLength(1)
  })

  it('releasing what has come back by itself is logged and is no error', async () => {
    const { parked } = queues()
    await parked.park(parkedWrite())
    const [received] = await parked.receive(10)
    aws.passTime(61_000)
    await parked.release([received?.receipt ?? ''])

    expect(logged).toEqual([{ event: 'parked.not_released', messages: 1, codes: 'InvalidParameterValue' }])
  })

  it('25 messages are removed in batches of ten', async () => {
    const { main, parked } = queues()
    await Promise.all(Array.from({ length: 25 }, (_, i) => parked.park(parkedWrite({ id: `w${i}` }))))
    const receipts: string[] = []
    for (let i = 0; i < 3; i++) receipts.push(...(await parked.receive(10)).map((r) => r.receipt))
    await parked.remove(receipts)

    expect(receipts).toHaveLength(25)
    expect(main.queue.messages).toEqual([])
    expect(aws.requests.filter((r) => r === 'sqs DeleteMessageBatch')).toHaveLength(3)
  })

  it('entries that SQS fails to delete by its own fault are tried once more', async () => {
    const { main, parked } = queues()
    for (const id of ['a', 'b', 'c']) await parked.park(parkedWrite({ id }))
    const received = await parked.receive(10)
    main.queue.refuseEntries = { count: 2, code: 'InternalError', senderFault: false }
    await parked.remove(received.map((r) => r.receipt))

    expect(main.queue.messages).toEqual([])
  })

  it('entries that stay undeleted are an error that says what becomes of them', async () => {
    const { main, parked } = queues()
    for (const id of ['a', 'b', 'c']) await parked.park(parkedWrite({ id }))
    const received = await parked.receive(10)
    main.queue.refuseEntries = { count: 1, code: 'ReceiptHandleIsInvalid', senderFault: true }

    await expect(parked.remove(received.map((r) => r.receipt))).rejects.toThrow(
      'deleting 1 of 3 messages from ' + main.url + ' failed: ReceiptHandleIsInvalid; they come back after 60 s',
    )
    expect(main.queue.messages).toHaveLength(1)
  })

  it('a write that is set aside stands in the dead letters with its reason, and no longer in the queue', async () => {
    const { main, dead, parked } = queues()
    await parked.park(parkedWrite())
    const [received] = await parked.receive(10)
    if (!received) throw new Error('nothing received')
    await parked.setAside(received, 'bad-data 22003: numeric field overflow')

    expect(main.queue.messages).toEqual([])
    expect(dead.queue.messages[0]?.attributes['reason']).toBe('bad-data 22003: numeric field overflow')
    expect((await sqsParkedWrites({ queueUrl: dead.url, deadLetterUrl: dead.url, aws: aws.target }).receive(10))[0]?.write).toEqual(
      parkedWrite(),
    )
  })

  it('a message that can not be read goes to the dead letters as it is, and the readable ones behind it are received', async () => {
    const { main, dead, parked } = queues()
    main.queue.sendMessage({ MessageBody: 'by hand' })
    await parked.park(parkedWrite())

    expect((await parked.receive(1)).map((r) => r.write)).toEqual([parkedWrite()])
    expect(dead.queue.messages[0]).toMatchObject({ body: 'by hand', attributes: { reason: 'unreadable: incorrect header check' } })
    expect(main.queue.messages).toHaveLength(1)
  })

  it('a write of a newer schema version stays queued, and the readable ones behind it are received', async () => {
    const { main, dead, parked } = queues()
    main.queue.sendMessage({ MessageBody: gzipSync(JSON.stringify({ ...parkedWrite(), schemaVersion: 3 })).toString('base64') })
    await parked.park(parkedWrite())

    expect((await parked.receive(1)).map((r) => r.write)).toEqual([parkedWrite()])
    expect(await parked.depth()).toBe(2)
    expect(dead.queue.messages).toEqual([])
  })

  it('a queue that does not take the write makes parking fail, so that the cursor stays where it was', async () => {
    const { parked } = queues()
    aws.failNext('sqs', 'error-500', 2)

    await expect(parked.park(parkedWrite())).rejects.toThrow('sending a parked write to')
  })

  it('an answer that gets lost parks the write twice rather than never', async () => {
    const { main, parked } = queues()
    aws.failNext('sqs', 'lost-answer')
    await parked.park(parkedWrite())

    expect(main.queue.messages).toHaveLength(2)
  })
})
