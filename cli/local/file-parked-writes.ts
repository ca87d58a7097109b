// Parked writes as files: one file a batch, named by its time so that the oldest comes first, readable by the owner only.
// A file appears whole or not at all: written under another name, flushed to the disk, renamed, and the folder flushed.
// A file that can't be read back is moved to `damaged/` and named in the log; what the database will never take goes to `refused/`.
// Nothing here deletes data that is not committed.

import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import * as z from 'zod'
import { newestVersion, type ParkedWrite, type ParkedWrites, type Received } from '../../shared/collect/parked-writes.ts'
import type { Log } from '../../shared/log.ts'

/** The envelope; the rows were made by parse and are read back as they were written. */
const envelope = z.object({
  id: z.string(),
  schemaVersion: z.int().min(1).max(newestVersion),
  collector: z.string(),
  runId: z.string(),
  parkedAtMs: z.number(),
  reason: z.string(),
  batch: z.object({
    dexes: z.array(z.looseObject({})),
    tokens: z.array(z.looseObject({})),
    pools: z.array(z.looseObject({})),
    trades: z.array(z.looseObject({})),
    gaps: z.array(z.looseObject({})),
    runs: z.array(z.looseObject({})),
    // not in the first version
    samples: z.array(z.looseObject({})).default([]),
    incidents: z.array(z.looseObject({})).default([]),
  }),
})

/** Several processes may use one folder: a batch that two of them replay is written twice, and the second writing changes nothing. */
export async function openFileParkedWrites(folder: string, log: Log): Promise<ParkedWrites> {
  await fs.mkdir(folder, { recursive: true, mode: 0o700 })
  const inHand = new Set<string>()
  const files = async () => (await fs.readdir(folder)).filter((name) => name.endsWith('.json')).toSorted()

  const moveTo = async (place: string, name: string) => {
    await fs.mkdir(path.join(folder, place), { recursive: true, mode: 0o700 })
    await fs.rename(path.join(folder, name), path.join(folder, place, name))
    return path.join(folder, place, name)
  }

  return {
    async park(write) {
      const name = `${String(write.parkedAtMs).padStart(15, '0')}-${write.id}.json`
      await writeDurably(folder, name, JSON.stringify(write))
    },

    depth: async () => (await files()).length,

    async receive(max) {
      const received: Received[] = []
      for (const name of await files()) {
        if (received.length >= max) break
        if (inHand.has(name)) continue
        const text = await fs.readFile(path.join(folder, name), 'utf8').catch((error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return undefined // another process has just replayed it
          throw error
        })
        if (text === undefined) continue
        const write = readWrite(text)
        if (write === 'newer') continue
        if (write === 'damaged') {
          log.error({
            event: 'parked-write.damaged',
            file: await moveTo('damaged', name),
            do: 'look at it; it is kept, but will not be replayed',
          })
          continue
        }
        inHand.add(name)
        received.push({ write, receipt: name })
      }
      return received
    },

    async remove(receipts) {
      for (const name of receipts) {
        await fs.rm(path.join(folder, name), { force: true })
        inHand.delete(name)
      }
    },

    async release(receipts) {
      for (const name of receipts) inHand.delete(name)
    },

    async setAside({ receipt, write }, reason) {
      const file = await moveTo('refused', receipt)
      inHand.delete(receipt)
      log.error({ event: 'parked-write.refused', file, collector: write.collector, reason })
    },
  }
}

/** Resolves when the bytes and the name are on the disk. On any error nothing of it is left. */
async function writeDurably(folder: string, name: string, text: string): Promise<void> {
  const draft = path.join(folder, `${name}.${randomUUID().slice(0, 8)}.draft`)
  try {
    const file = await fs.open(draft, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await fs.rename(draft, path.join(folder, name))
  } catch (error) {
    await fs.rm(draft, { force: true })
    throw new Error(`a batch could not be parked in ${folder}: ${(error as Error).message}`, { cause: error })
  }
  const directory = await fs.open(folder, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** What another version of this program has parked stays queued for it; what nobody has written is damaged. */
function readWrite(text: string): ParkedWrite | 'newer' | 'damaged' {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return 'damaged' // cut short by a full disk, say: the caller names the file
  }
  const { data: version } = z.object({ schemaVersion: z.int() }).safeParse(json)
  if (version && version.schemaVersion > newestVersion) return 'newer'
  const write = envelope.safeParse(json)
  return write.success ? (write.data as unknown as ParkedWrite) : 'damaged'
}
