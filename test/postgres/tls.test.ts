// TLS to a real server with certificates of this file's own: what is trusted, what is refused, and that whoever sets it up is told what to do.

import * as fs from 'node:fs/promises'
import path from 'node:path'
import { TLSSocket } from 'node:tls'
import { Connection } from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { withAdminSession } from '../../cli/local/admin-session.ts'
import type { FragilePostgres } from '../../cli/local/fragile-postgres.ts'
import { DatabaseError, type Database } from '../../shared/db/database.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { ConfigError } from '../../shared/errors.ts'
import { connectFailureOf } from '../../shared/health/connect-failure.ts'
import { classifyFailure } from '../../shared/resilience/classify-failure.ts'
import { createCertificate, type Certificate } from '../support/certificate.ts'
import { startOwnServer } from '../support/health-look.ts'
import { fakeServer, limits, openDatabase, rejection, statement } from '../support/provoke.ts'

const untilMs = Date.UTC(2049, 0, 1)
const authority = createCertificate({ host: 'Tokay test authority', untilMs, isAuthority: true })
const stranger = createCertificate({ host: 'another authority', untilMs, isAuthority: true })
const signed = (host: string, options: Partial<Parameters<typeof createCertificate>[0]> = {}) =>
  createCertificate({ host, untilMs, issuer: authority, ...options })

const looked = statement(`select ssl, version, client_dn from pg_stat_ssl where pid = pg_backend_pid()`)

describe('TLS', () => {
  let server: FragilePostgres
  let remove: () => Promise<void>
  let folder: string
  let data: string
  const paths: Record<'authority' | 'stranger' | 'clientCert' | 'clientKey' | 'garbage', string> = {
    authority: '',
    stranger: '',
    clientCert: '',
    clientKey: '',
    garbage: '',
  }

  const keep = async (name: string, text: string) => {
    const file = path.join(folder, name)
    await fs.writeFile(file, text)
    return file
  }

  beforeAll(async () => {
    ;({ server, remove } = await startOwnServer())
    await withAdminSession(server.url, async (admin) => {
      data = (await admin.sql<{ data_directory: string }>('show data_directory'))[0]?.data_directory ?? ''
      await admin.sql(`create role guest login password 'guest'`)
    })
    folder = path.dirname(data)
    const client = signed('guest')
    paths.authority = await keep('authority.pem', authority.cert)
    paths.stranger = await keep('stranger.pem', stranger.cert)
    paths.clientCert = await keep('client.pem', client.cert)
    paths.clientKey = await keep('client.key', client.key)
    paths.garbage = await keep('garbage.pem', 'no certificate')
  })
  afterAll(() => remove())

  /** From now on the server shows this certificate; undefined: no TLS. */
  async function show(certificate: Certificate | undefined): Promise<void> {
    const { uid, gid } = await fs.stat(data)
    for (const [name, text] of [
      ['server.crt', certificate?.cert],
      ['server.key', certificate?.key],
      ['root.crt', authority.cert],
    ] as const) {
      if (text === undefined) continue
      const file = path.join(data, name)
      await fs.writeFile(file, text, { mode: 0o600 })
      await fs.chown(file, uid, gid)
    }
    await withAdminSession(server.url, async (admin) => {
      await admin.sql(`alter system set ssl = ${certificate ? 'on' : 'off'}`)
      await admin.sql(`alter system set ssl_ca_file = '${certificate ? 'root.crt' : ''}'`)
      const [before] = await admin.sql<{ at: string }>('select pg_conf_load_time()::text as at')
      await admin.sql('select pg_reload_conf()')
      while ((await admin.sql<{ at: string }>('select pg_conf_load_time()::text as at'))[0]?.at === before?.at);
    })
  }

  const urlWith = (query: Readonly<Record<string, string>>, change: (url: URL) => void = () => {}) => {
    const url = new URL(server.url)
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    change(url)
    return url.href
  }
  const open = (query: Readonly<Record<string, string>>, change?: (url: URL) => void): Database =>
    openDatabase('public', { url: urlWith(query, change) })
  const verified = () => ({ sslmode: 'verify-full', sslrootcert: paths.authority })

  async function refusal(query: Readonly<Record<string, string>>, change?: (url: URL) => void) {
    const url = urlWith(query, change)
    const error = await rejection(openDatabase('public', { url }).query(looked, limits))
    if (!(error instanceof DatabaseError)) throw error
    const { password } = new URL(server.url)
    expect(error.message).not.toContain(password)
    expect(error.message).not.toContain('postgres://')
    return { says: error.message, class: classifyFailure(error).class, connect: connectFailureOf(error) }
  }

  it('is verified to the authority that the URL names, by the host name or the address that the certificate is for', async () => {
    await show(signed('127.0.0.1'))
    expect(await open(verified()).query(looked, limits)).toEqual([{ ssl: true, version: 'TLSv1.3', client_dn: null }])
    await show(signed('localhost'))
    expect(await open(verified(), (url) => (url.hostname = 'localhost')).query(looked, limits)).toMatchObject([{ ssl: true }])
  })

  it('takes the authority from the URL itself as well, where there is no file system', async () => {
    await show(signed('127.0.0.1'))
    const database = open({ sslmode: 'verify-full', sslrootcert: authority.cert })
    expect(await database.query(looked, limits)).toMatchObject([{ ssl: true }])
    // an authority that is named is one that is wanted, also on the loopback
    expect(await open({ sslrootcert: paths.authority }).query(looked, limits)).toMatchObject([{ ssl: true }])
    expect(await open({ sslrootcert: paths.authority, sslmode: 'disable' }).query(looked, limits)).toMatchObject([{ ssl: false }])
  })

  it('is for migrations as for writes', async () => {
    await show(signed('127.0.0.1'))
    expect((await migrate({ url: urlWith(verified()), schema: 'tls', connectForMs: 5_000 })).length).toBeGreaterThan(0)
    const error = await rejection(migrate({ url: urlWith({ sslmode: 'require' }), schema: 'tls', connectForMs: 5_000 }))
    expect((error as Error).message).toContain('sslrootcert=')
  })

  it('binds the password exchange to the certificate where the URL asks for it', async () => {
    await show(signed('127.0.0.1'))
    const asked = vi.spyOn(
      Connection.prototype as Connection & { sendSASLInitialResponseMessage(mechanism: string): void },
      'sendSASLInitialResponseMessage',
    )
    onTestFinished(() => asked.mockRestore())
    expect(await open({ ...verified(), channel_binding: 'require' }).query(looked, limits)).toMatchObject([{ ssl: true }])
    expect(await open(verified()).query(looked, limits)).toMatchObject([{ ssl: true }])
    expect(asked.mock.calls.map(([mechanism]) => mechanism)).toEqual(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'])
  })

  it('names the host to the server (SNI), as proxies that serve many need it, and never an address', async () => {
    const named: string[] = []
    const certificate = signed('localhost')
    const url = await fakeServer((socket) =>
      socket.once('data', () => {
        socket.write('S')
        const options = {
          isServer: true,
          ...certificate,
          SNICallback: (name: string, done: (error: null) => void) => (named.push(name), done(null)),
        }
        new TLSSocket(socket, options).on('error', () => {}).once('data', () => socket.destroy())
      }),
    )
    const asked = `${url}?sslmode=verify-full&sslrootcert=${encodeURIComponent(authority.cert)}`
    await rejection(openDatabase('public', { url: asked.replace('127.0.0.1', 'localhost') }).query(looked, limits))
    await rejection(openDatabase('public', { url: asked }).query(looked, limits))
    expect(named).toEqual(['localhost'])
  })

  it.each([
    [
      'expired',
      () => signed('127.0.0.1', { untilMs: Date.UTC(2020, 0, 1) }),
      "certificate has expired; the server's certificate is out of date: renew it",
    ],
    ['not valid yet', () => signed('127.0.0.1', { fromMs: Date.UTC(2048, 0, 1) }), 'certificate is not yet valid; '],
    [
      'for another host',
      () => signed('elsewhere.example'),
      'is for another host: write the host in the Postgres URL as the certificate names it',
    ],
    [
      'signed by itself',
      () => createCertificate({ host: '127.0.0.1', untilMs }),
      'is signed by nobody who is trusted here: name the PEM file',
    ],
    ['signed by an authority that is not trusted', () => signed('127.0.0.1', { issuer: stranger }), 'sslrootcert=/path/ca.pem'],
  ])('refuses a certificate that is %s, and says what to do', async (_what, certificate, says) => {
    await show(certificate())
    const refused = await refusal(verified())
    expect(refused).toMatchObject({ class: 'config', connect: 'tls' })
    expect(refused.says).toContain(says)
  })

  it.each(['require', 'verify-ca', 'verify-full'])(
    'sslmode=%s is verify-full: public authorities alone are trusted unless the URL names one',
    async (sslmode) => {
      await show(signed('127.0.0.1'))
      expect((await refusal({ sslmode })).says).toContain('sslrootcert=')
      expect((await refusal({ sslmode, sslrootcert: 'system' })).says).toContain('sslrootcert=')
      await show(signed('elsewhere.example'))
      expect((await refusal({ sslmode, sslrootcert: paths.authority })).says).toContain('is for another host')
    },
  )

  it('is not given up where the server has none', async () => {
    await show(undefined)
    const refused = await refusal(verified())
    expect(refused).toMatchObject({ class: 'config', connect: 'tls' })
    expect(refused.says).toBe(
      'connect: The server does not support SSL connections; switch TLS on at the server, or at the pooler before it; only where nobody else is on the network between: sslmode=disable in the Postgres URL',
    )
  })

  it('is what a server that takes nothing else asks for, and a client certificate is', async () => {
    await show(signed('127.0.0.1'))
    const rules = path.join(data, 'pg_hba.conf')
    const before = await fs.readFile(rules, 'utf8')
    const set = async (text: string) => {
      await fs.writeFile(rules, text)
      await withAdminSession(server.url, async (admin) => void (await admin.sql('select pg_reload_conf()')))
    }
    onTestFinished(() => set(before))
    await set(`hostssl all guest all scram-sha-256 clientcert=verify-full\n${before.replaceAll(/^(host\s+all\s+)all/gm, '$1tokay')}`)
    const asGuest = (url: URL) => void Object.assign(url, { username: 'guest', password: 'guest' })
    // pg_reload_conf() only asks for it
    const refusalOnceLoaded = async (query: Readonly<Record<string, string>>, part: string) => {
      for (let attempt = 0; attempt < 50; attempt++) {
        const refused = await refusal(query, asGuest).catch(() => undefined)
        if (refused?.says.includes(part)) return refused
      }
      throw new Error(`never refused with: ${part}`)
    }
    const plain = await refusalOnceLoaded({ sslmode: 'disable' }, 'no encryption')
    expect(plain).toMatchObject({ class: 'config', connect: 'auth' })
    expect(plain.says).toContain('the server takes TLS only: set sslmode=verify-full in the Postgres URL')
    const without = await refusalOnceLoaded(verified(), 'client certificate')
    expect(without).toMatchObject({ class: 'config', connect: 'auth' })
    expect(without.says).toContain('sslcert=/path/client.pem&sslkey=/path/client.key')
    const shown = { ...verified(), sslcert: paths.clientCert, sslkey: paths.clientKey }
    expect(await open(shown, asGuest).query(looked, limits)).toEqual([{ ssl: true, version: 'TLSv1.3', client_dn: '/CN=guest' }])
    const foreign = createCertificate({ host: 'guest', untilMs, issuer: stranger })
    const untrusted = await refusal({ ...verified(), sslcert: foreign.cert, sslkey: foreign.key }, asGuest)
    expect(untrusted).toMatchObject({ class: 'config', connect: 'tls' })
    expect(untrusted.says).toContain('the server does not accept our client certificate')
  })

  it.each([
    ['a file that is not there', () => ({ sslrootcert: '/nowhere/hunter2.pem' }), "an sslrootcert that can't be read (ENOENT)"],
    ['a file without a certificate', () => ({ sslrootcert: paths.garbage }), 'an sslrootcert that holds no certificate in PEM'],
    [
      'a text that is no certificate',
      () => ({ sslrootcert: '-----BEGIN CERTIFICATE-----hunter2' }),
      'an sslrootcert that holds no certificate in PEM',
    ],
    ['a key that is none', () => ({ sslcert: paths.clientCert, sslkey: paths.garbage }), 'an sslkey that holds no private key'],
    ['a certificate without its key', () => ({ sslcert: paths.clientCert }), 'one of sslcert and sslkey: they go together'],
    ['a slip of the pen', () => ({ sslmode: 'verify_full' }), 'an unknown sslmode: use verify-full'],
  ])('a URL with %s is refused before anything is sent, without showing any of it', (_what, query, says) => {
    let thrown: unknown
    try {
      open(query())
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(ConfigError)
    expect((thrown as Error).message).toContain(`DATABASE_URL has ${says}`)
    expect(JSON.stringify([(thrown as Error).message, (thrown as Error).cause])).not.toMatch(/hunter2|nowhere|verify_full/)
  })
})
