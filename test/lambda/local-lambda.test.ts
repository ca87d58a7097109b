// The local Lambda against small handlers: what Lambda does to a process, and what becomes of what the process left behind.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { bundle } from '../support/bundles.ts'
import { createLocalFunction, type LocalFunction } from '../support/local-lambda.ts'

let folder: string
let runtime: string
const made: LocalFunction[] = []

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'tokay-local-lambda-'))
  runtime = (await bundle(path.join(import.meta.dirname, '../support/lambda-runtime.ts'), folder)).file
})
afterEach(() => Promise.all(made.splice(0).map((fn) => fn.kill())))
afterAll(() => rm(folder, { recursive: true, force: true }))

let files = 0
async function functionOf(code: string, options: { timeoutMs?: number; environment?: Record<string, string> } = {}) {
  const file = path.join(folder, `handler-${++files}.mjs`)
  await writeFile(file, code)
  const fn = createLocalFunction({ runtime, bundle: file, ...options })
  made.push(fn)
  return fn
}

const isGone = (pid: number) => {
  try {
    process.kill(pid, 0)
    return false
  } catch {
    return true
  }
}

describe('the local Lambda', () => {
  it('starts a process for the first event and runs the next one in the same, with what the module kept', async () => {
    const fn = await functionOf('let runs = 0; export const handler = (event) => ({ runs: ++runs, event })')
    const [first, second] = [await fn.invoke({ a: 1 }), await fn.invoke({ a: 2 })]

    expect(first).toMatchObject({ payload: { runs: 1, event: { a: 1 } }, initMs: expect.any(Number) })
    expect(second).toMatchObject({ payload: { runs: 2, event: { a: 2 } }, initMs: undefined, pid: first.pid })
  })

  it('two events at once run in two processes', async () => {
    const fn = await functionOf('export const handler = () => new Promise((resolve) => setTimeout(resolve, 50, process.pid))')
    const [a, b] = await Promise.all([fn.invoke(), fn.invoke()])

    expect(a.pid).not.toBe(b.pid)
  })

  it('a process sees its own environment only, and the time that is left', async () => {
    const fn = await functionOf(
      'export const handler = (_, context) => [Object.keys(process.env).sort(), context.getRemainingTimeInMillis()]',
      { environment: { OWN: '1' }, timeoutMs: 7_000 },
    )
    const { payload } = (await fn.invoke()) as { payload: [string[], number] }

    expect(payload[0]).toEqual(['AWS_LAMBDA_RUNTIME_API', 'LAMBDA_TASK_ROOT', 'OWN', 'TZ', '_HANDLER'])
    expect(payload[1]).toBeGreaterThan(5_000)
    expect(payload[1]).toBeLessThanOrEqual(7_000)
  })

  it('a handler that answers nothing answers null', async () => {
    expect(await (await functionOf('export const handler = async () => {}')).invoke()).toMatchObject({ payload: null })
  })

  it('an error is answered with its type and message, logged, and leaves the process running', async () => {
    const fn = await functionOf(
      `export const handler = () => { throw Object.assign(new RangeError('too far', { cause: new Error('unsaid') }), { limit: 3 }) }`,
    )
    const [first, second] = [await fn.invoke(), await fn.invoke()]

    expect(first).toMatchObject({ failed: { errorType: 'RangeError', errorMessage: 'too far', limit: 3 } })
    expect(JSON.parse(fn.logs[0] ?? '')).toMatchObject({ level: 'ERROR', errorType: 'RangeError', errorMessage: 'too far', limit: 3 })
    expect(fn.logs.join()).not.toContain('unsaid')
    expect(second.pid).toBe(first.pid)
  })

  it('an object that is logged nests in a JSON line, and an error in it shows its message', async () => {
    const fn = await functionOf(`export const handler = () => console.warn({ event: 'a.happened', error: new Error('why') })`)
    await fn.invoke()

    expect(JSON.parse(fn.logs[0] ?? '')).toMatchObject({
      level: 'WARN',
      message: { event: 'a.happened', error: { errorType: 'Error', errorMessage: 'why' } },
    })
  })

  it('what takes longer than its time is killed, and the next event starts a new process', async () => {
    const fn = await functionOf('export const handler = ({ hang }) => (hang ? new Promise(() => setInterval(() => {}, 1000)) : 1)', {
      timeoutMs: 300,
    })
    const first = await fn.invoke({ hang: true })

    expect(first).toMatchObject({
      failed: { errorType: 'Sandbox.Timedout', errorMessage: expect.stringContaining('timed out after 0.30 seconds') },
    })
    expect(isGone(first.pid)).toBe(true)
    expect(await fn.invoke({ hang: false })).toMatchObject({ payload: 1, initMs: expect.any(Number) })
  })

  it('between two events nothing in the process moves', async () => {
    const fn = await functionOf('let ticks = 0; setInterval(() => ticks++, 1); export const handler = () => ticks')
    const { payload: before } = (await fn.invoke()) as { payload: number }
    await new Promise((resolve) => setTimeout(resolve, 400))
    const { payload: after } = (await fn.invoke()) as { payload: number }

    // a timer that was due many times fires once at the thaw; running on, it would have fired some 400 times
    expect(after - before).toBeLessThan(50)
  })

  it('what a handler leaves running and that throws later, kills the next event and not its own', async () => {
    const fn = await functionOf(
      `export const handler = ({ leave }) => { if (leave) setTimeout(() => { throw new Error('left behind') }, 20); else return new Promise((r) => setTimeout(r, 200, 'fine')) }`,
    )
    const first = await fn.invoke({ leave: true })
    await new Promise((resolve) => setTimeout(resolve, 50))

    expect(first).toMatchObject({ payload: null })
    expect(await fn.invoke({})).toMatchObject({ failed: { errorType: 'Runtime.ExitError' }, pid: first.pid })
    expect(fn.logs.join()).toContain('left behind')
    expect(isGone(first.pid)).toBe(true)
    expect(await fn.invoke({})).toMatchObject({ payload: 'fine' })
  })

  it('a rejection that nobody awaits kills the event that it happens in', async () => {
    const fn = await functionOf(
      `export const handler = () => { void Promise.reject(new Error('floating')); return new Promise((r) => setTimeout(r, 500)) }`,
    )

    expect(await fn.invoke()).toMatchObject({ failed: { errorType: 'Error', errorMessage: 'floating' } })
  })

  it.each([
    ['a process that ends itself', 'export const handler = () => process.exit(3)', 'Runtime.ExitError', 'exit status 3'],
    ['a module that throws', `throw new TypeError('no settings'); export const handler = 1`, 'TypeError', 'no settings'],
    [
      'a handler with a callback',
      'export const handler = (event, context, callback) => callback()',
      'Runtime.CallbackHandlerDeprecated',
      'callback',
    ],
    ['a module without handler', 'export const main = () => 1', 'Runtime.HandlerNotFound', 'handler is undefined or not exported'],
  ])('%s is a failed event', async (_name, code, errorType, errorMessage) => {
    expect(await (await functionOf(code)).invoke()).toMatchObject({
      failed: { errorType, errorMessage: expect.stringContaining(errorMessage) },
    })
  })
})
