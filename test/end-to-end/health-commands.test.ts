// db-health, db-monitor, status and alerts as an operator types them: whole processes, real exit codes, pure JSON on stdout, a Postgres of their own
// that may be locked up and frozen.

import { execFileSync, spawn } from 'node:child_process'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { startFragilePostgres, type FragilePostgres } from '../../cli/local/fragile-postgres.ts'
import { startPostgres, urlOfRunning } from '../../cli/local/embedded-postgres.ts'
import { openState } from '../../cli/runtime.ts'
import { createDynamodbStateTable } from '../../shared/aws/dynamodb-state-table.ts'
import type { AlertState } from '../../shared/health/alert/state.ts'
import type { HealthReport } from '../../shared/health/report.ts'
import type { HealthJson } from '../../shared/health/report-formats.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { check, createEngine } from '../support/alerts.ts'
import { tokay, type Finished } from '../support/command.ts'
import { startDynamodb } from '../support/dynamodb.ts'
import { session, waits } from '../support/health-look.ts'
import { collectorState } from '../support/observed.ts'

const schema = 'tokay_simulator'
/** Nobody listens there. */
const dead = { DATABASE_URL: 'postgres://someone:s3cret@127.0.0.1:1/x' }

let dataDir: string
let emptyDir: string
let server: FragilePostgres
beforeAll(async () => {
  dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-health-commands-'))
  emptyDir = await fs.mkdtemp(path.join(os.tmpdir(), 'tokay-health-empty-'))
  // as root the server runs under another account, which must be able to enter
  await fs.chmod(dataDir, 0o755)
  server = await startFragilePostgres({ baseDir: path.join(dataDir, 'postgres') })
  await migrate({ url: server.url, schema, connectForMs: 10_000 })
}, 60_000)
afterAll(async () => {
  await server.stop()
  for (const folder of [dataDir, emptyDir]) await fs.rm(folder, { recursive: true, force: true })
})

const run = (command: string, env: Readonly<Record<string, string>> = {}, folder = dataDir) =>
  tokay([...command.split(' '), '--data-dir', folder], env)
const lines = ({ stdout }: Finished) => stdout.trimEnd().split('\n')
/** Each line of stdout is one JSON object, and nothing else is there. */
const objects = (finished: Finished) => lines(finished).map((line) => JSON.parse(line) as Record<string, unknown>)
const reportOf = ({ stdout }: Finished) => JSON.parse(stdout) as HealthReport
const severityOf = (report: HealthReport, id: string) => report.checks.find((one) => one.id === id)?.severity

describe('tokay db-health', () => {
  it('looks at the embedded server that runs, without becoming a user of it or making anything', async () => {
    const users = path.join(dataDir, 'postgres/users')
    const before = [await fs.readdir(users), await fs.readdir(dataDir)]
    const finished = await run('db-health --json').finished
    expect(finished.code, finished.stdout + finished.stderr).toBe(0)
    expect(reportOf(finished)).toMatchObject({ status: 'HEALTHY', score: 100, serverInfo: { database: 'postgres', role: 'tokay' } })
    expect(finished.stderr).toContain(`Postgres at 127.0.0.1:${server.port} (embedded), driver pg, state of live`)
    expect([await fs.readdir(users), await fs.readdir(dataDir)]).toEqual(before)
    expect(await urlOfRunning(path.join(dataDir, 'postgres'))).toBe(server.url)
  })

  it('as a table for people: no colours where no terminal is, and with --deep what changes slowly is looked at, too', async () => {
    const [usual, deep, json] = await Promise.all([
      run('db-health', { FORCE_COLOR: '0' }).finished,
      run('db-health --test-connectivity --test-performance --format json').finished,
      run('db-health --deep --format health+json').finished,
    ])
    expect([usual.code, deep.code, json.code], usual.stderr + deep.stderr + json.stderr).toEqual([0, 0, 0])
    expect(usual.stdout).toMatch(/^HEALTHY Database is operating normally\nscore 100, at \S+\nPostgreSQL 18\.\d+ \(pg\), database postgres/)
    expect(usual.stdout).not.toContain('\u001b')
    expect(usual.stdout).toMatch(/^and \d+ more checks that this look left out \(--deep\)$/m)
    expect(usual.stdout).not.toContain('invalid-index')
    expect(severityOf(reportOf(deep), 'invalid-index')).toBe('ok')
    expect((JSON.parse(json.stdout) as HealthJson).checks['database:invalid-index']).toMatchObject([{ status: 'pass' }])
  })

  it('2, and pure JSON, for a database that refuses: the server is down, or the login wrong', async () => {
    const wrong = new URL(server.url)
    wrong.password = 'wrong'
    const [down, refused] = await Promise.all([
      run('db-health --format json', dead, emptyDir).finished,
      run('db-health --json', { DATABASE_URL: wrong.href }).finished,
    ])
    expect([down.code, refused.code]).toEqual([2, 2])
    expect(reportOf(down)).toMatchObject({ status: 'CRITICAL', score: 0, serverInfo: null })
    expect(reportOf(down).checks[0]).toMatchObject({ id: 'connect', severity: 'critical', value: 'refused' })
    expect(reportOf(refused).checks[0]).toMatchObject({ id: 'connect', severity: 'critical', value: 'auth' })
    expect(down.stdout + down.stderr).not.toContain('s3cret')
    expect(await fs.readdir(emptyDir)).toEqual([])
  })

  it.concurrent.each([
    ['db-health --json', {}, 'there is no database to look at: set DATABASE_URL, or start the embedded Postgres with `npm start`'],
    ['db-health', { DATABASE_URL: 'nonsense' }, 'DATABASE_URL is not a URL'],
    ['db-health --json --format table', dead, "option '--json' cannot be used with option '--format <format>'"],
    ['db-monitor', {}, 'there is no database to look at'],
  ])('%s ends with 3, says why, and starts nothing', async (command, env, message) => {
    const { code, stdout, stderr } = await run(command, env, emptyDir).finished
    expect([code, stdout]).toEqual([3, ''])
    expect(stderr).toContain(message)
    expect(await fs.readdir(emptyDir)).toEqual([])
  })
})

describe('a locked table', () => {
  it('is 1 for db-health, which names who holds it; db-monitor shows who waits, when it began and when it is over', async () => {
    const [holder, waiter] = [await session(server.url, 'nightly-report'), await session(server.url, 'etl')]
    const watch = await session(server.url, 'watch')
    const monitor = run('db-monitor --json --interval 0.2 --alert-threshold-lock-wait 1100')
    await monitor.shows('"kind":"sample"')
    await holder.sql(`begin; lock table ${schema}.dexes in access exclusive mode`)
    await waits(waiter, `select count(*) from ${schema}.dexes`, watch, 1)
    await monitor.shows('"state":"began"')
    const health = await run('db-health --json').finished
    expect(health.code, health.stderr).toBe(1)
    const found = reportOf(health).checks[0]
    expect(found).toMatchObject({ id: 'lock-wait', severity: 'warning' })
    expect(found?.evidence?.[0]).toMatch(new RegExp(`^pid ${holder.pid} \\(nightly-report\\) holds it: idle in transaction`))
    await holder.sql('rollback')
    await monitor.shows('"state":"ended"')
    monitor.kill('SIGINT')
    const finished = await monitor.finished
    expect(finished.code, finished.stderr).toBe(0)

    const said = objects(finished)
    const blocked = said.find((one) => one['kind'] === 'sample' && Number(one['lockWaitMs']) > 1_100)
    expect(blocked).toMatchObject({
      waiting: 1,
      blocked: [{ pid: waiter.pid, blockedBy: [holder.pid], relation: 'dexes', application: 'etl' }],
      blockers: [{ pid: holder.pid, isRoot: true, state: 'idle in transaction' }],
    })
    expect(said.filter((one) => one['kind'] === 'alert').map(({ what, state }) => [what, state])).toEqual([
      ['lock wait', 'began'],
      ['lock wait', 'ended'],
    ])
    expect(said.at(-1)).toMatchObject({ kind: 'summary', alerts: { away: 0, 'lock wait': 1, 'query time': 0 } })
    const samples = said.filter((one) => one['kind'] === 'sample')
    expect(said.at(-1)).toMatchObject({ samples: samples.length, up: samples.length, spreads: { lockWaitMs: { min: 0 } } })
  }, 60_000)
})

describe('tokay db-monitor', () => {
  it('SIGTERM ends it with the summary, a duration likewise; a database that is away is watched, too', async () => {
    const stopped = run('db-monitor --interval 0.3')
    const timed = run('db-monitor --interval 0.2 --duration 0.015', dead, emptyDir).finished
    await stopped.shows(' up, query ')
    stopped.kill('SIGTERM')
    const [first, second] = await Promise.all([stopped.finished, timed])
    expect([first.code, second.code], first.stderr + second.stderr).toEqual([0, 0])
    expect(lines(first)[0]).toMatch(
      /^live: Postgres at \S+ \(embedded\), driver pg; a look every 0\.3 s, what is shorter may lie between two/,
    )
    expect(first.stdout).toMatch(/^\d+ samples? in \S+ m?s, the database answered all of them\n {17}min {7}avg {7}max\nquery/m)
    expect(first.stdout).toContain('\nalerts: none\n')
    expect(second.stdout).toMatch(/^\S+ DOWN connect ECONNREFUSED 127\.0\.0\.1:1 \(refused\), circuit closed, parked -$/m)
    expect(second.stdout.match(/ALERT the database does not answer/g)).toHaveLength(1)
    expect(second.stdout).toMatch(/^\d+ samples in \S+ m?s, the database answered 0 of them$/m)
    expect(second.stdout).toContain('\nalerts: away 1\n')
  })

  const hasScript = (() => {
    try {
      return process.platform === 'linux' && execFileSync('script', ['--version']).toString().includes('util-linux')
    } catch {
      return false // not installed
    }
  })()
  /**
   * On a terminal of its own. When a text is shown, a key is pressed or the process told to end. Answers what the terminal showed: at last the
   * command's exit code and the terminal's settings.
   */
  const onTerminal = async (steps: readonly (readonly [text: string, keyOrSignal: ' ' | 'q' | 'SIGTERM'])[]) => {
    const command = `${process.execPath} cli/tokay.ts db-monitor --interval 0.3 --data-dir ${dataDir}`
    const line = `stty rows 40 cols 110; sh -c 'echo pid $$; exec ${command}'; echo code $?; stty -a`
    const { NO_COLOR: _, ...env } = process.env
    const child = spawn('script', ['-qec', line, '/dev/null'], { env: { ...env, TERM: 'xterm', DATABASE_URL: '' } })
    onTestFinished(() => void child.kill('SIGKILL'))
    let [shown, next] = ['', 0]
    child.stdout.on('data', (chunk: Buffer) => {
      shown += chunk.toString()
      const [text, action] = steps[next] ?? []
      if (text === undefined || action === undefined || !shown.includes(text)) return
      next += 1
      if (action === 'SIGTERM') process.kill(Number(/pid (\d+)/.exec(shown)?.[1]), action)
      else child.stdin.write(action)
    })
    await new Promise((resolve) => child.on('close', resolve))
    return shown
  }

  // without util-linux's `script` there is no terminal to be had
  it.skipIf(!hasScript)('on a terminal it draws panes and hears keys, and leaves the terminal as it was, however it ends', async () => {
    const [quit, ended] = await Promise.all([
      onTerminal([
        ['nobody waits for a lock', ' '],
        ['paused', ' '],
        ['space pauses', 'q'],
      ]),
      onTerminal([['nobody waits for a lock', 'SIGTERM']]),
    ])
    for (const shown of [quit, ended]) {
      expect(shown).toContain('(embedded), driver pg')
      expect(shown).toContain('code 0')
      expect(shown).toContain('space pauses, q quits')
      expect(shown).toMatch(/lock wait +0 ms {2}▁/)
      expect(shown).toMatch(/samples? in .*, the database answered all of them/)
      // what a shell needs: lines, with echo
      expect(shown.slice(shown.indexOf('code '))).toMatch(/[^-]icanon.*[^-]echo /s)
      // the cursor is shown again
      expect(shown.lastIndexOf('\u001b[?25h')).toBeGreaterThan(shown.lastIndexOf('\u001b[?25l'))
    }
    expect(quit).toContain('space goes on, q quits')
  })
})

const dataOf = async (state: { list(): Promise<readonly { key: string; version: number; data: unknown }[]> }, key: string) =>
  (await state.list()).find((item) => item.key === key)

/** A lock wait that has fired and was told. */
function firing(): AlertState {
  const engine = createEngine()
  const fromMs = Date.now() - 10 * 60_000
  engine.run(fromMs, [check('lock-wait', 'warning', { message: '2 sessions wait.' }), check('circuit', 'critical')])
  return engine.state as AlertState
}

describe('tokay alerts', () => {
  it('list says what fires; ack is for one that does; silence ends by itself, or now', async () => {
    const state = openState(emptyDir, 'simulator')
    onTestFinished(() => state.close())
    await state.compareAndSet('alerts', 0, firing())
    const alerts = (command: string) => run(`alerts ${command}`, {}, emptyDir).finished

    const listed = await alerts('list')
    expect(listed.code, listed.stderr).toBe(0)
    expect(listed.stderr).toBe('source: simulator, which was used last; --source names another\n')
    expect(lines(listed)).toEqual([
      'critical  circuit  firing, for 10 min, told 10 min ago: circuit is bad.',
      'warning  lock-wait  firing, for 10 min, not told yet: 2 sessions wait.',
    ])

    const unknown = await alerts('ack connect --json')
    expect([unknown.code, unknown.stdout]).toEqual([1, ''])
    expect(unknown.stderr).toContain('tokay: no alert "connect" fires; those that do: circuit, lock-wait')

    const silent = await alerts('silence --for 30m --reason maintenance --json')
    const { silence } = JSON.parse(silent.stdout) as { silence: { until: string; reason: string } }
    expect([silent.code, silence.reason]).toEqual([0, 'maintenance'])
    expect(Math.abs(Date.parse(silence.until) - Date.now() - 30 * 60_000)).toBeLessThan(30_000)
    const now = await alerts('list --json')
    expect(JSON.parse(now.stdout)).toMatchObject({ silence, alerts: [{ fingerprint: 'circuit', phase: 'firing' }, { toldAt: null }] })

    expect((await alerts('silence --for 0s')).stdout).toContain('alerts are sent again')
    const stored = (await dataOf(state, 'alerts'))?.data as AlertState
    expect(stored.silence?.untilMs).toBeLessThanOrEqual(Date.now())
  }, 60_000)

  it.concurrent.each([
    ['silence', "required option '--for <time>' not specified"],
    ['silence --for 8d', 'at most 168h'],
  ])('%s ends with 2 and says what is wrong', async (command, message) => {
    const { code, stdout, stderr } = await run(`alerts ${command}`, {}, emptyDir).finished
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(message)
  })
})

describe('tokay status', () => {
  it('shows what the state says, also while the database is away, and its history when it is there', async () => {
    const state = openState(dataDir, 'simulator')
    onTestFinished(() => state.close())
    await state.compareAndSet('collector:trades', 0, collectorState({ lastSuccessAtMs: Date.now() - 60_000 }))
    const [there, gone] = await Promise.all([run('status --json').finished, run('status', dead).finished])
    expect([there.code, gone.code], there.stderr + gone.stderr).toEqual([0, 0])
    expect(JSON.parse(there.stdout)).toMatchObject({
      source: 'simulator',
      collectors: [{ name: 'dexes' }, { name: 'top-pools' }, { name: 'new-pools' }, { name: 'trades', lastOutcome: 'complete' }],
      parked: 0,
      history: { incidents: 0 },
      historyProblem: null,
    })
    expect(gone.stdout).toMatch(/^trades +5 min +\d+ s ago /m)
    expect(gone.stdout).toContain('no history: connect ECONNREFUSED 127.0.0.1:1')
  })

  it("--aws shows a deployed stage's, and its alerts take a person's word", async () => {
    const dynamodb = await startDynamodb()
    onTestFinished(() => dynamodb.close())
    const table = createDynamodbStateTable({ tableName: await dynamodb.createTable('tokay-prod-state'), aws: dynamodb.target })
    onTestFinished(() => table.close())
    await table.compareAndSet('alerts', 0, firing())
    const env = {
      AWS_CONFIG_FILE: os.devNull,
      AWS_SHARED_CREDENTIALS_FILE: os.devNull,
      AWS_PROFILE: '',
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'testing',
      AWS_SECRET_ACCESS_KEY: 'testing',
      AWS_ENDPOINT_URL_DYNAMODB: dynamodb.target.endpoint,
    }
    const word = await tokay('alerts ack lock-wait --stage prod'.split(' '), env).finished
    expect([word.code, word.stdout], word.stderr).toEqual([
      0,
      'lock-wait: acknowledged; no reminder until it is over, or becomes critical\n',
    ])
    const shown = await tokay('status --aws --stage prod --json'.split(' '), env).finished
    expect(JSON.parse(shown.stdout)).toMatchObject({
      system: 'tokay-prod',
      source: 'aws',
      parked: null,
      history: null,
      alerts: [{ fingerprint: 'circuit' }, { fingerprint: 'lock-wait', acknowledgedAt: expect.any(String) }],
    })
  })
})

// last: these take the server away, and the second puts it elsewhere
describe.skipIf(process.platform === 'win32')('a server that is in trouble', () => {
  it('frozen it is critical within seconds, and the status is shown all the same', async () => {
    const state = openState(dataDir, 'simulator')
    onTestFinished(() => state.close())
    // somebody has just had it awake: nobody waits for it to wake
    const before = await dataOf(state, 'collector:dexes')
    await state.compareAndSet('collector:dexes', before?.version ?? 0, collectorState({ lastSuccessAtMs: Date.now() }))
    onTestFinished(() => server.thaw())
    await server.freeze()
    const [health, status] = await Promise.all([run('db-health --deep --json').finished, run('status').finished])
    expect([health.code, status.code], health.stderr + status.stderr).toEqual([2, 0])
    expect(reportOf(health).checks[0]).toMatchObject({ id: 'connect', severity: 'critical', value: 'hung' })
    expect(Math.max(health.tookMs, status.tookMs)).toBeLessThan(15_000)
    expect(status.stdout).toMatch(/^no history: /m)
  }, 60_000)

  it('one that was killed is no server to look at; db-monitor finds it again when it was started on another port', async () => {
    const baseDir = path.join(dataDir, 'postgres')
    const monitor = run('db-monitor --interval 0.2 --alert-threshold-query-time 60000')
    await monitor.shows(' up, query ')
    await server.kill()
    expect(await fs.readdir(path.join(baseDir, 'data'))).toContain('postmaster.pid')
    expect(await urlOfRunning(baseDir)).toBe(undefined)
    await monitor.shows('ALERT the database does not answer')
    const elsewhere = await startPostgres({ baseDir })
    onTestFinished(async () => {
      await server.restart() // joins it, so that it is stopped with all others
      await elsewhere.stop()
    })
    expect(new URL(elsewhere.url).port).not.toBe(String(server.port))
    await monitor.shows('over: the database answers again')
    monitor.kill('SIGINT')
    expect((await monitor.finished).code).toBe(0)
  }, 60_000)
})
