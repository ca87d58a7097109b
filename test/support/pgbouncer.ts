// A real PgBouncer in transaction mode before a test's Postgres, on a free port of the loopback. Where none is installed its tests are skipped
// and say so: `apt-get install pgbouncer` (Debian and Ubuntu) is all that it takes.

import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { childEnvironment, lendAccount } from '../../cli/local/postgres-account.ts'
import { startFaultProxy, urlAtPort, type FaultProxy } from '../../cli/local/fault-proxy.ts'
import type { Front } from './fault-matrix.ts'
import { freePort } from './provoke.ts'

const binary = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/usr/bin', '/opt/homebrew/bin']
  .map((folder) => path.join(folder, 'pgbouncer'))
  .find((file) => existsSync(file))

/** For a describe's `skipIf` and title. */
export const noPgbouncer = binary === undefined
export const throughPgbouncer = noPgbouncer ? 'through pgbouncer (skipped: pgbouncer is not installed)' : 'through pgbouncer'

export type Pgbouncer = {
  readonly port: number
  /** The same URL through it. */
  url(originalUrl: string): string
  /** One command of its console, such as `pause`. */
  command(text: string): Promise<readonly Record<string, unknown>[]>
  /** SIGTERM: at once, whatever is connected. */
  kill(): Promise<void>
  /** On the same port. Resolves when it accepts connections. */
  restart(): Promise<void>
  /** Idempotent. */
  stop(): Promise<void>
}

const operator = { user: 'operator', password: 'operator' }

/**
 * `users`: whom it knows, with their passwords; the server's address is taken from the first one's URL.
 * `settings` replaces lines of its pgbouncer.ini; `certificate` is what it shows to its clients.
 */
export async function startPgbouncer(options: {
  users: readonly string[]
  settings?: Readonly<Record<string, string | number>>
  certificate?: { readonly key: string; readonly cert: string }
}): Promise<Pgbouncer> {
  if (binary === undefined) throw new Error('pgbouncer is not installed')
  const urls = options.users.map((url) => new URL(url))
  const [server] = urls
  if (!server) throw new Error('startPgbouncer needs a URL to lead to')
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-pgbouncer-'))
  // it refuses to run as root, and the account that it is lent must be able to read its files
  await fs.chmod(folder, 0o755)
  const account = await lendAccount(folder)
  const port = await freePort()
  const names = [...urls.map((url) => [url.username, decodeURIComponent(url.password)]), [operator.user, operator.password]]
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'scram-sha-256',
    auth_file: path.join(folder, 'users.txt'),
    admin_users: operator.user,
    pool_mode: 'transaction',
    // Debian's default: nothing is reset between two transactions, so that whatever leaks is seen
    server_reset_query_always: 0,
    max_client_conn: 100,
    default_pool_size: 4,
    ...(options.certificate
      ? {
          client_tls_sslmode: 'allow',
          client_tls_key_file: path.join(folder, 'key.pem'),
          client_tls_cert_file: path.join(folder, 'cert.pem'),
        }
      : {}),
    ...options.settings,
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
  await fs.writeFile(path.join(folder, 'users.txt'), names.map(([name, password]) => `"${name}" "${password}"\n`).join(''))
  await fs.writeFile(path.join(folder, 'key.pem'), options.certificate?.key ?? '')
  await fs.writeFile(path.join(folder, 'cert.pem'), options.certificate?.cert ?? '')
  const file = path.join(folder, 'pgbouncer.ini')
  await fs.writeFile(
    file,
    ['[databases]', `* = host=${server.hostname} port=${server.port || 5432}`, '[pgbouncer]', ...lines, ''].join('\n'),
  )
  const log = path.join(folder, 'log')

  let child: ChildProcess | undefined
  const endWithUs = () => void child?.kill('SIGKILL')
  process.on('exit', endWithUs)

  async function start(): Promise<void> {
    const out = await fs.open(log, 'a')
    const from = (await out.stat()).size
    child = spawn(binary as string, [file], { ...account, ...childEnvironment, stdio: ['ignore', out.fd, out.fd] })
    await out.close()
    const untilMs = performance.now() + 10_000
    const said = async () => (await fs.readFile(log)).subarray(from).toString('utf8')
    // it listens by then. Not asked by connecting: that would count against max_client_conn for a moment
    while (!(await said()).includes('process up')) {
      if (child.exitCode !== null || performance.now() > untilMs) throw new Error(`pgbouncer did not start: ${(await said()).slice(-600)}`)
      await sleep(5)
    }
  }

  async function kill(): Promise<void> {
    const dying = child
    if (!dying || dying.exitCode !== null || dying.signalCode !== null) return
    const gone = new Promise((resolve) => dying.once('exit', resolve))
    dying.kill('SIGTERM')
    await gone
  }

  await start()
  return {
    port,
    url: (originalUrl) => urlAtPort(originalUrl, port),
    async command(text) {
      const client = new Client({ host: '127.0.0.1', port, ...operator, database: 'pgbouncer', connectionTimeoutMillis: 5_000 })
      client.on('error', () => {}) // it ends its console with itself
      await client.connect()
      try {
        return (await client.query<Record<string, unknown>>(text)).rows
      } finally {
        await client.end()
      }
    },
    kill,
    restart: start,
    async stop() {
      await kill()
      process.off('exit', endWithUs)
      await fs.rm(folder, { recursive: true, force: true })
    },
  }
}

/**
 * For the real write path: it reconnects at once, and keeps no connection to the server for longer than a second. With its usual patience (15 s, an
 * hour) one that began on a read-only server stays read-only for so long.
 */
const eager = { default_pool_size: 20, server_login_retry: 0.1, server_lifetime: 1 }

/** As the fault matrix takes it. */
export async function startPoolerForWrites(workloadUrl: string): Promise<Pgbouncer & Front> {
  const pooler = await startPgbouncer({ users: [workloadUrl], settings: eager })
  return { ...pooler, reset: () => pooler.command('reconnect') }
}

/** A way to the server with a fault proxy before the pooler, or between the pooler and the server. */
export async function wayThrough(
  place: 'before' | 'behind',
  serverPort: number,
  workloadUrl: string,
): Promise<{ proxy: FaultProxy; url: string; pooler: Pgbouncer }> {
  if (place === 'before') {
    const pooler = await startPoolerForWrites(workloadUrl)
    const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: pooler.port } })
    return { proxy, url: proxy.url(workloadUrl), pooler }
  }
  const proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: serverPort } })
  const pooler = await startPoolerForWrites(proxy.url(workloadUrl))
  return { proxy, url: pooler.url(workloadUrl), pooler }
}
