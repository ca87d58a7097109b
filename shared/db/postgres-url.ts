// DATABASE_URL, taken apart by ourselves. The drivers would let `sslmode` in the URL replace the TLS settings (and their CA), and both
// put the whole URL, password included, into the error of a malformed one: here it is never echoed, not even as a cause.

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
  /** Binds the password exchange to the TLS connection. Asked for by `channel_binding` in the URL. */
  readonly enableChannelBinding: boolean
  readonly options: string | undefined
  readonly applicationName: string | undefined
}

const shape = 'postgres://user:password@host:5432/database'

/**
 * TLS is verified (`verify-full`) everywhere but on loopback and Unix sockets, whatever weaker `sslmode` the URL names; only
 * `sslmode=disable` turns it off, and on loopback only `require`, `verify-ca` and `verify-full` turn it on.
 * Of the query, `host`, `sslmode`, `channel_binding`, `options` and `application_name` are used; other tools' parameters are ignored.
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
    ssl: wantsTls(host, parsed.searchParams.get('sslmode')) ? { rejectUnauthorized: true } : false,
    enableChannelBinding: channelBinding === 'require' || channelBinding === 'prefer',
    options: parsed.searchParams.get('options') ?? undefined,
    applicationName: parsed.searchParams.get('application_name') ?? undefined,
  }
}

function wantsTls(host: string, sslmode: string | null): boolean {
  if (host.startsWith('/') || sslmode === 'disable') return false
  const loopback = host === 'localhost' || host === '::1' || /^127(?:\.\d+){3}$/.test(host)
  return !loopback || sslmode === 'require' || sslmode === 'verify-ca' || sslmode === 'verify-full'
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
