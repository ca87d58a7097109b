// Users' own code, as the examples in test/support/own-code: processes of their own, over real sockets.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { migrate } from '../../shared/db/migrate.ts'
import { startFaultProxy, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import { createSchema, databaseUrl, postgresAddress, type TestSchema } from '../support/postgres.ts'

const examples = path.resolve(import.meta.dirname, '../support/own-code')
let schema: TestSchema
let proxy: FaultProxy
const children: ChildProcess[] = []

function run(example: string, args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [path.join(examples, example), ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  return child
}

beforeEach(async () => {
  schema = await createSchema('own')
  await migrate({ url: databaseUrl(), schema: schema.name, connectForMs: 10_000 })
  await schema.sql('create table balance (cents int); insert into balance values (0)')
  await schema.sql('create table invocations (n int); insert into invocations values (0)')
  proxy = await startFaultProxy({ target: postgresAddress() })
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await proxy.close()
  await schema.drop()
})

describe('a script of ten lines', () => {
  let service: Server
  let answers: number[]
  const serviceUrl = () => `http://127.0.0.1:${(service.address() as AddressInfo).port}/`
  /** The script's one line, and its exit code. */
  async function countDeposits(): Promise<{ said: string; code: number | null }> {
    const child = run('count-deposits.ts', [serviceUrl(), proxy.url(databaseUrl()), schema.name])
    let said = ''
    child.stdout?.on('data', (text: Buffer) => (said += text.toString()))
    const [code] = (await once(child, 'close')) as [number | null]
    return { said: said.trim(), code }
  }

  beforeEach(async () => {
    // what it answers next, 200 when there is nothing left
    answers = []
    service = createServer((_request, response) => {
      response.statusCode = answers.shift() ?? 200
      response.end(JSON.stringify({ atMs: Date.UTC(2026, 0, 1), cents: [100, 250] }))
    })
    service.listen(0, '127.0.0.1')
    await once(service, 'listening')
  })
  afterEach(async () => {
    service.close()
    await once(service, 'close')
  })

  it('gets past a service that fails and a commit whose answer is lost, and counts once however often it runs', async () => {
    answers.push(503)
    await proxy.mode({ kind: 'drop-answer', containing: 'COMMIT', how: 'rst' })
    // it was applied by the attempt whose answer was lost
    expect(await countDeposits()).toEqual({ said: 'already', code: 0 })
    expect(proxy.cuts).toBe(1)
    expect(answers).toEqual([])
    expect(await countDeposits()).toEqual({ said: 'already', code: 0 })
    expect(await schema.sql('select cents from balance')).toEqual([{ cents: 350 }])
    expect(await schema.sql('select rows from ledger')).toEqual([{ rows: 2 }])
  }, 30_000)
})

describe('a process that is frozen between its invocations', () => {
  let lines: AsyncIterator<string>
  let reader: Interface
  let child: ChildProcess
  async function invoke(name: string): Promise<{ n: number; backend: number; attempts: number }> {
    child.stdin?.write(`${name}\n`)
    const { value } = (await lines.next()) as { value: string }
    return JSON.parse(value) as { n: number; backend: number; attempts: number }
  }

  beforeEach(() => {
    child = run('invoked.ts', [proxy.url(databaseUrl()), schema.name])
    reader = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    lines = reader[Symbol.asyncIterator]()
  })
  afterEach(() => reader.close())

  /** Longer than `validateAfterMs`, as every freeze between two invocations is. */
  const frozen = () => new Promise((resolve) => setTimeout(resolve, 600))

  it('and whose backend is terminated meanwhile succeeds at the first attempt of the next one', async () => {
    const { backend } = await invoke('first')
    child.kill('SIGSTOP')
    await schema.sql('select pg_terminate_backend($1)', [backend])
    await vi.waitUntil(async () => (await schema.sql('select 1 from pg_stat_activity where pid = $1', [backend])).length === 0, {
      timeout: 10_000,
    })
    // both at once: the invocation is read in the same turn of the event loop as the end of the connection
    child.stdin?.write('second\n')
    await frozen()
    child.kill('SIGCONT')
    const { value } = (await lines.next()) as { value: string }
    const second = JSON.parse(value) as { n: number; backend: number; attempts: number }
    expect(second).toMatchObject({ n: 2, attempts: 1 })
    expect(second.backend).not.toBe(backend)
  }, 30_000)

  it('and whose connection vanishes in silence does, too', async () => {
    const { backend } = await invoke('first')
    child.kill('SIGSTOP')
    await proxy.mode({ kind: 'blackhole' })
    await proxy.mode({ kind: 'pass' })
    await frozen()
    child.kill('SIGCONT')
    const second = await invoke('second')
    expect(second).toMatchObject({ n: 2, attempts: 1 })
    expect(second.backend).not.toBe(backend)
  }, 30_000)
})
