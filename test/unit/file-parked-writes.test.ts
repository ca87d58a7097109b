import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openFileParkedWrites } from '../../cli/local/file-parked-writes.ts'
import { emptyBatch } from '../../shared/collect/batch.ts'
import type { ParkedWrite } from '../../shared/collect/parked-writes.ts'
import type { LogEvent } from '../../shared/log.ts'
import { incident, sample } from '../support/rows.ts'

const write = (id: string, parkedAtMs: number, name = 'Raydium'): ParkedWrite => ({
  id,
  schemaVersion: 1,
  collector: 'dexes',
  runId: '2026-11-20T10:00:00.000Z',
  parkedAtMs,
  reason: 'connection',
  batch: { ...emptyBatch, dexes: [{ network: 'solana', dex: 'raydium', name, observedAtMs: 1_763_632_800_000 }] },
})

describe('parked writes in files', () => {
  let folder: string
  let events: LogEvent[]
  const log = { info: (e: LogEvent) => events.push(e), warn: (e: LogEvent) => events.push(e), error: (e: LogEvent) => events.push(e) }
  const open = () => openFileParkedWrites(path.join(folder, 'parked'), log)

  beforeEach(async () => {
    folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-parked-'))
    events = []
  })
  afterEach(() => fs.rm(folder, { recursive: true, force: true }))

  it('what was parked is received as it was, oldest first, by a process that starts later', async () => {
    const parked = await open()
    await parked.park(write('b', 2_000, '火蜥蜴 🦎'))
    await parked.park(write('a', 1_000))
    const later = await open()
    expect(await later.depth()).toBe(2)
    expect((await later.receive(10)).map((r) => r.write)).toEqual([write('a', 1_000), write('b', 2_000, '火蜥蜴 🦎')])
  })

  it('only the owner can read a parked batch', async () => {
    const parked = await open()
    await parked.park(write('a', 1_000))
    const [name] = await fs.readdir(path.join(folder, 'parked'))
    expect((await fs.stat(path.join(folder, 'parked', name as string))).mode & 0o777).toBe(0o600)
  })

  it('what is in hand is not received again until it is released', async () => {
    const parked = await open()
    await parked.park(write('a', 1_000))
    const [first] = await parked.receive(10)
    expect(await parked.receive(10)).toEqual([])
    await parked.release([first?.receipt as string])
    expect(await parked.receive(10)).toHaveLength(1)
  })

  it('removing is idempotent and takes only what it names', async () => {
    const parked = await open()
    await parked.park(write('a', 1_000))
    await parked.park(write('b', 2_000))
    const [first] = await parked.receive(1)
    await parked.remove([first?.receipt as string])
    await parked.remove([first?.receipt as string])
    expect((await parked.receive(10)).map((r) => r.write.id)).toEqual(['b'])
  })

  it.each([
    ['cut short', '{"id":"a","schemaVersion":1,"coll'],
    ['empty', ''],
    ['of another shape', '{"id":"a","schemaVersion":1}'],
  ])('a file that is %s is set aside and named, and the others are received', async (_, text) => {
    const parked = await open()
    await fs.writeFile(path.join(folder, 'parked', '000000000000001-x.json'), text)
    await parked.park(write('b', 2_000))
    expect((await parked.receive(10)).map((r) => r.write.id)).toEqual(['b'])
    const kept = path.join(folder, 'parked', 'damaged', '000000000000001-x.json')
    expect(await fs.readFile(kept, 'utf8')).toBe(text)
    expect(events).toContainEqual(expect.objectContaining({ event: 'parked-write.damaged', file: kept }))
    expect(await parked.depth()).toBe(1)
  })

  it('looks and outages of the health check come back, and a batch that was parked before there were any has none', async () => {
    const parked = await open()
    const whole = {
      ...write('b', 2_000),
      schemaVersion: 2,
      batch: { ...emptyBatch, samples: [sample()], incidents: [incident()] },
    } as const
    await parked.park(whole)
    const { samples: _samples, incidents: _incidents, ...before } = emptyBatch
    await fs.writeFile(
      path.join(folder, 'parked', '000000000001000-a.json'),
      JSON.stringify({ ...write('a', 1_000), batch: { ...before, dexes: write('a', 1_000).batch.dexes } }),
    )
    expect((await parked.receive(10)).map((r) => r.write)).toEqual([write('a', 1_000), whole])
  })

  it('a batch of a newer version stays queued', async () => {
    const parked = await open()
    await fs.writeFile(path.join(folder, 'parked', '000000000000001-x.json'), '{"schemaVersion":3,"rows":[]}')
    expect(await parked.receive(10)).toEqual([])
    expect(await parked.depth()).toBe(1)
  })

  it('what the database refuses is kept apart under its name', async () => {
    const parked = await open()
    await parked.park(write('a', 1_000))
    const [first] = await parked.receive(1)
    if (!first) throw new Error('nothing received')
    await parked.setAside(first, 'data')
    expect(await parked.depth()).toBe(0)
    expect(await fs.readdir(path.join(folder, 'parked', 'refused'))).toEqual([first.receipt])
  })

  it('when the disk takes nothing, parking rejects, says where, and leaves no half of a file', async () => {
    const parked = await open()
    await fs.rm(path.join(folder, 'parked'), { recursive: true })
    await expect(parked.park(write('a', 1_000))).rejects.toThrow(`a batch could not be parked in ${path.join(folder, 'parked')}`)
    await fs.mkdir(path.join(folder, 'parked'))
    expect(await fs.readdir(path.join(folder, 'parked'))).toEqual([])
  })
})
