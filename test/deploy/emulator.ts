// An AWS emulator for the deploy proof: moto's server, from the folder that AWS_EMULATOR names (serve.py PORT; Python with moto).
// It runs in a process group of its own, with an environment of its own: nothing of the caller's AWS settings reaches it or the CDK.

import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const root = path.resolve(import.meta.dirname, '../..')

export const account = '123456789012'
const region = 'us-east-1'
const readyWithinMs = 30_000

/** The folder, or why there is none to use. */
export function emulatorFolder(): { folder: string } | { missing: string } {
  const folder = process.env['AWS_EMULATOR'] ?? ''
  if (folder === '') return { missing: 'AWS_EMULATOR names no folder' }
  if (!existsSync(path.join(folder, 'serve.py'))) return { missing: 'AWS_EMULATOR has no serve.py' }
  if (spawnSync('python3', ['-c', 'import moto'], { stdio: 'ignore' }).status !== 0) return { missing: 'python3 has no moto' }
  return { folder }
}

export type Emulator = Awaited<ReturnType<typeof startEmulator>>

export async function startEmulator(folder: string) {
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const scratch = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-deploy-'))
  const [functionLog, serverLog] = ['functions.log', 'server.log'].map((name) => path.join(scratch, name)) as [string, string]
  await fs.writeFile(functionLog, '')
  // What the deploy-time trigger runs a bundle with: this Node, its output kept. The emulator itself shows its last 300 characters only.
  const node = path.join(scratch, 'node')
  await fs.writeFile(node, `#!/bin/sh\nexec '${process.execPath}' "$@" >>'${functionLog}' 2>&1\n`, { mode: 0o755 })

  const environment = {
    // the CDK starts `node infra/app.ts`
    PATH: [path.join(root, 'node_modules/.bin'), process.env['PATH']].join(path.delimiter),
    HOME: scratch,
    EMULATOR_NODE: node,
    AWS_ENDPOINT_URL: endpoint,
    // The host's name matters: with an address the CLI uses path-style S3, and the emulator knows a template's URL by the word "localhost".
    AWS_ENDPOINT_URL_S3_FOR_CLOUDFORMATION: `http://localhost:${port}`,
    AWS_ACCESS_KEY_ID: 'testing',
    AWS_SECRET_ACCESS_KEY: 'testing',
    AWS_SESSION_TOKEN: 'testing',
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    AWS_EC2_METADATA_DISABLED: 'true',
    CDK_DISABLE_CLI_TELEMETRY: 'true',
    NO_COLOR: '1',
  }

  const output = openSync(serverLog, 'a')
  const server = spawn('python3', [path.join(folder, 'serve.py'), String(port)], {
    env: environment,
    cwd: scratch,
    detached: true,
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()))
  const kill = (signal: NodeJS.Signals) => {
    if (server.pid !== undefined && server.exitCode === null && server.signalCode === null) process.kill(-server.pid, signal)
  }
  process.once('exit', () => kill('SIGKILL'))
  await ready(endpoint, () => server.exitCode !== null && readFileSync(serverLog, 'utf8'))

  let readChars = 0
  return {
    environment,
    scratch,
    target: { endpoint, region, credentials: { accessKeyId: 'testing', secretAccessKey: 'testing' } },
    /** What the functions have written since the last call. */
    takeFunctionLog() {
      const text = readFileSync(functionLog, 'utf8').slice(readChars)
      readChars += text.length
      return text
    },
    async stop() {
      kill('SIGTERM')
      await ended
      await fs.rm(scratch, { recursive: true, force: true })
    },
  }
}

async function ready(endpoint: string, hasFailed: () => string | false): Promise<void> {
  for (const untilMs = performance.now() + readyWithinMs; performance.now() < untilMs; await sleep(50)) {
    const failed = hasFailed()
    if (failed !== false) throw new Error(`the AWS emulator ended before it answered:\n${failed}`)
    const answer = await fetch(`${endpoint}/moto-api/`).catch(() => undefined) // not listening yet
    if (answer?.ok) return
  }
  throw new Error(`the AWS emulator did not answer within ${readyWithinMs} ms`)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
