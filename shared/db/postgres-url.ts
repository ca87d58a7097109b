// DATABASE_URL, taken apart by ourselves. The drivers would let `sslmode` in the URL replace the TLS settings (and their CA), and both
// put the whole URL, password included, into the error of a malformed one: here it is never echoed, not even as a cause.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { ConfigError } from '../errors.ts'

export type PostgresAddress = {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  /** False: no TLS. Else the certificate and the host name are verified. */
  readonly ssl: false | ConnectionOptions
  /** Binds the password exchange to the TLS connection, where the server offers it. Asked for by `channel_binding` in the URL. */
  readonly enableChannelBinding: boolean
  readonly options: string | undefined
  readonly applicationName: string | undefined
}

const shape = 'postgres://user:password@host:5432/database'

/**
 * TLS is verified (`verify-full`) everywhere but on loopback and Unix sockets, whatever weaker `sslmode` the URL names; only
 * `sslmode=disable` turns it off. On loopback `require`, `verify-ca`, `verify-full` or a certificate turn it on.
 * `sslrootcert` replaces the public authorities that Node trusts; `sslcert` and `sslkey` are for a server that wants to know its clients. Each is the
 * path of a PEM file, or the percent-encoded PEM itself where there is no file system of one's own; read once, here.
 * Beside these, `host`, `channel_binding`, `options` and `application_name` of the query are used; other tools' parameters are ignored.
 * @throws ConfigError that says what is wrong and never holds the URL or a part of it
 */
export function parsePostgresUrl(url: string): PostgresAddress {
  if (!URL.canParse(url)) throw new ConfigError([wrong('is not a URL')])
  const parsed = new URL(url)
  if (parsed.protocol !== 'postgres:' && parsed.protocol !== 'postgresql:')
    throw new ConfigError([wrong('does not start with postgres://')])
  const host = parsed.searchParams.get('host') ?? decode(parsed.hostname).replace(/^\[(.*)\]$/, '$1')
  const database = decode(parsed.pathname.slice(1))
  const user = decode(parsed.username)
  const missing = [host ? '' : 'host', user ? '' : 'user', database ? '' : 'database'].filter((part) => part !== '')
  if (missing.length > 0) throw new ConfigError([wrong(`has no ${missing.join(', no ')}`)])
  const channelBinding = parsed.searchParams.get('channel_binding')
  return {
    host,
    port: parsed.port === '' ? 5432 : Number(parsed.port),
    user,
    password: decode(parsed.password),
    database,
    ssl: tlsOf(host, parsed.searchParams),
    enableChannelBinding: channelBinding === 'require' || channelBinding === 'prefer',
    options: parsed.searchParams.get('options') ?? undefined,
    applicationName: parsed.searchParams.get('application_name') ?? undefined,
  }
}

/** Those of libpq, and node-postgres's own. Another one is a slip of the pen, and must not switch TLS off in silence. */
const sslModes = new Set([null, 'disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'])

function tlsOf(host: string, query: URLSearchParams): PostgresAddress['ssl'] {
  const sslmode = query.get('sslmode')
  if (!sslModes.has(sslmode)) throw new ConfigError([wrong('has an unknown sslmode: use verify-full, or disable where there is no TLS')])
  if (host.startsWith('/') || sslmode === 'disable') return false
  const loopback = host === 'localhost' || host === '::1' || /^127(?:\.\d+){3}$/.test(host)
  const [ca, cert, key] = [pemOf(query, 'sslrootcert'), pemOf(query, 'sslcert'), pemOf(query, 'sslkey')]
  if ((cert === undefined) !== (key === undefined)) throw new ConfigError([wrong('has one of sslcert and sslkey: they go together')])
  const isAsked = sslmode === 'require' || sslmode === 'verify-ca' || sslmode === 'verify-full' || (ca ?? cert) !== undefined
  if (loopback && !isAsked) return false
  return { rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert, key }) }
}

function pemOf(query: URLSearchParams, name: 'sslrootcert' | 'sslcert' | 'sslkey'): string | undefined {
  const given = query.get(name)
  // libpq's word for the public authorities
  if (!given || (name === 'sslrootcert' && given === 'system')) return undefined
  let pem = given
  try {
    if (!given.startsWith('-----BEGIN ')) pem = readFileSync(given, 'utf8')
  } catch (error) {
    // without the path: in a URL that was put together wrongly it may be anything
    const why = (error as NodeJS.ErrnoException).code ?? 'no path'
    throw new ConfigError([wrong(`has an ${name} that can't be read (${why}): give the path of a PEM file, or the percent-encoded PEM`)])
  }
  try {
    if (name === 'sslkey') createPrivateKey(pem)
    else new X509Certificate(pem)
  } catch {
    // the parser's words say nothing about what to do
    const what = name === 'sslkey' ? 'private key without a passphrase' : 'certificate'
    throw new ConfigError([wrong(`has an ${name} that holds no ${what} in PEM`)])
  }
  return pem
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    // a URIError's message has no part of the URL, but says nothing useful either
    throw new ConfigError([wrong('has a % that is no percent-encoding')])
  }
}

const wrong = (what: string) =>
  `DATABASE_URL ${what}. It should look like ${shape}, with special characters in the password percent-encoded`
