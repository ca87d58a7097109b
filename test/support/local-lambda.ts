// Lambda on this machine, as far as a function can tell: the Runtime API over HTTP, and for each execution environment a child process.
//
//   starting ──asks for an event──> running ──has answered and asks again──> frozen (SIGSTOP) ──event──> thawed (SIGCONT), running
//      any of them ──its time is up (SIGKILL), or the process ends by itself──> gone; the next event starts a new one
//
// An environment runs one event at a time; events that come meanwhile get environments of their own, as many as come. Between events nothing in
// the process moves: timers, sockets, promises. What happens to them meanwhile shows when it thaws. What the runtime inside the process
// does stands in lambda-runtime.ts. The limits and words are Lambda's; what it does not do is queue, retry or throttle.

import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'

export type LocalFunctionOptions = {
  /** What was made of lambda-runtime.ts. */
  readonly runtime: string
  /** An .mjs file that exports `handler`. */
  readonly bundle: string
  /** All that the process gets, beside what Lambda itself sets. Nothing of this process's own. */
  readonly environment?: Readonly<Record<string, string>>
  /** One invocation, the start of the process not counted. Default 40 s. */
  readonly timeoutMs?: number
}

export type Failed = { readonly errorType: string; readonly errorMessage: string; readonly stackTrace?: readonly string[] }

export type Invoked = {
  /** The process that ran it. */
  readonly pid: number
  /** From starting the process to its asking for the event; undefined where it was there already. */
  readonly initMs: number | undefined
  readonly tookMs: number
} & ({ readonly payload: unknown } | { readonly failed: Failed })

export type LocalFunction = {
  /** Runs it in a frozen environment, or in a new one when there is none. Resolves when the environment is frozen again, or gone. */
  invoke(event?: unknown): Promise<Invoked>
  /** Kills every environment, whatever it does, as Lambda may at any time. What runs in them fails. */
  kill(): Promise<void>
  /** What every environment has written, a line each. */
  readonly logs: readonly string[]
  /** Every answer and failure that was given, as JSON. */
  readonly answers: readonly string[]
}

/** Lambda gives the start of a process this long, whatever the function's own timeout. */
const initForMs = 10_000

/** As Lambda sizes V8's heap in 256 MB. */
const heap = ['--max-old-space-size=230', '--max-semi-space-size=12']

export function createLocalFunction(options: LocalFunctionOptions): LocalFunction {
  const all = new Set<Environment>()
  const frozen: Environment[] = []
  const logs: string[] = []
  const answers: string[] = []

  async function start(): Promise<Environment> {
    const environment = await inTurn(() => startEnvironment(options, logs))
    all.add(environment)
    return environment
  }

  return {
    logs,
    answers,
    async invoke(event = {}) {
      const environment = frozen.pop() ?? (await start())
      const invoked = await environment.run(event)
      if (environment.isAlive()) frozen.push(environment)
      else all.delete(environment)
      answers.push(JSON.stringify(invoked))
      return invoked
    },
    async kill() {
      frozen.length = 0
      await Promise.all([...all].map((environment) => environment.kill()))
    },
  }
}

/** A frozen process would outlive this one. */
const children = new Set<ChildProcess>()
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')))

/** On Lambda each process starts on processors of its own; here, twenty at once would all be late. */
const startsAtOnce = 4
let starting = 0
const turns: (() => void)[] = []
async function inTurn<Started>(start: () => Promise<Started>): Promise<Started> {
  if (starting >= startsAtOnce) await new Promise<void>((resolve) => turns.push(resolve))
  else starting++
  try {
    return await start()
  } finally {
    const next = turns.shift()
    if (next) next()
    else starting--
  }
}

type Environment = {
  run(event: unknown): Promise<Invoked>
  isAlive(): boolean
  kill(): Promise<void>
}

type Ended = { readonly payload: unknown } | { readonly failed: Failed }
type Running = { readonly id: string; readonly over: PromiseWithResolvers<Ended>; answer?: Ended }

async function startEnvironment(options: LocalFunctionOptions, logs: string[]): Promise<Environment> {
  const { runtime, bundle, environment = {}, timeoutMs = 40_000 } = options
  const started = Promise.withResolvers<Ended | 'asks'>()
  const exited = Promise.withResolvers<void>()
  let next: ServerResponse | undefined
  let running: Running | undefined
  let initFailed: Failed | undefined
  let alive = true

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, , area, id, what] = (request.url ?? '').slice(1).split('/')
    if (area === 'invocation' && id === 'next') {
      next = response
      if (!running) return started.resolve('asks')
      child.kill('SIGSTOP')
      return running.over.resolve(running.answer as Ended)
    }
    const said: unknown = JSON.parse(await text(request))
    if (area === 'init') initFailed = said as Failed
    else if (running?.id !== id) return void response.writeHead(400).end()
    else if (running) running.answer = what === 'response' ? { payload: said } : { failed: said as Failed }
    response.writeHead(202).end()
  }

  const server = createServer((request, response) => void serve(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const startedMs = performance.now()
  const child = spawn(process.execPath, [...heap, runtime], {
    env: {
      AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      LAMBDA_TASK_ROOT: path.dirname(bundle),
      _HANDLER: `${path.parse(bundle).name}.handler`,
      TZ: ':UTC',
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.add(child)
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => logs.push(line))
  }
  child.once('close', (code, signal) => {
    alive = false
    children.delete(child)
    server.closeAllConnections()
    server.close()
    // an answer that was given counts even when the process ends before it asks for more
    const failed =
      initFailed ?? failure('Runtime.ExitError', `Runtime exited with error: ${signal ? `signal: ${signal}` : `exit status ${code}`}`)
    started.resolve({ failed })
    running?.over.resolve(running.answer ?? { failed })
    exited.resolve()
  })

  async function kill(): Promise<void> {
    child.kill('SIGKILL')
    await exited.promise
  }

  /** Kills what takes too long; the process's end then ends the wait. */
  async function within<T>(forMs: number, ending: Promise<T>, late: Failed): Promise<T | { failed: Failed }> {
    let expired = false
    const timer = setTimeout(() => {
      expired = true
      child.kill('SIGKILL')
    }, forMs)
    const ended = await ending
    clearTimeout(timer)
    if (!expired) return ended
    await exited.promise
    return { failed: late }
  }

  const first = await within(
    initForMs,
    started.promise,
    failure('Sandbox.Timedout', `Task timed out in its init phase after ${initForMs / 1000} seconds`),
  )
  const initMs = performance.now() - startedMs
  const pid = child.pid as number
  let runs = 0

  return {
    kill,
    isAlive: () => alive,
    async run(event) {
      const cold = runs++ === 0
      const base = { pid, initMs: cold ? initMs : undefined }
      if (first !== 'asks') return { ...base, tookMs: 0, ...first }
      const id = randomUUID()
      running = { id, over: Promise.withResolvers() }
      const fromMs = performance.now()
      child.kill('SIGCONT')
      next
        ?.writeHead(200, {
          'lambda-runtime-aws-request-id': id,
          'lambda-runtime-deadline-ms': String(Date.now() + timeoutMs),
          'content-type': 'application/json',
        })
        .end(JSON.stringify(event))
      const ended = await within(
        timeoutMs,
        running.over.promise,
        failure('Sandbox.Timedout', `RequestId: ${id} Error: Task timed out after ${(timeoutMs / 1000).toFixed(2)} seconds`),
      )
      const tookMs = performance.now() - fromMs
      running = undefined
      return { ...base, tookMs, ...ended }
    },
  }
}

const failure = (errorType: string, errorMessage: string): Failed => ({ errorType, errorMessage })
