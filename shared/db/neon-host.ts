// What a host name says about Neon.

import { ConfigError } from '../errors.ts'

export type Driver = 'pg' | 'neon'

const isNeon = (host: string) => /\.neon\.(?:tech|build)$/i.test(host)

/** `auto`: by the host. Over HTTPS a pooled host and a direct one are the same: Neon's proxy pools by itself. */
export const driverFor = (choice: Driver | 'auto', host: string): Driver => (choice === 'auto' ? (isNeon(host) ? 'neon' : 'pg') : choice)

/** For what needs a session of its own, such as the migrations' lock: the pooler's host has the same name with `-pooler` in it. */
export const directHost = (host: string): string => (isNeon(host) ? host.replace(/^([^.]+)-pooler\./i, '$1.') : host)

/** Where Neon takes SQL over HTTPS: one host a region. On the loopback, at the URL's own port: what stands in for Neon there. @throws ConfigError */
export function neonEndpoint({ host, port }: { host: string; port: number }): URL {
  if (host === 'localhost' || host === '::1' || /^127(?:\.\d+){3}$/.test(host))
    return new URL(`http://${host.includes(':') ? `[${host}]` : host}:${port}/sql`)
  if (!host.includes('.') || /[^\w.-]/.test(host))
    throw new ConfigError([
      'the driver neon needs a Neon host in DATABASE_URL, such as ep-name-123456.eu-central-1.aws.neon.tech; or set database.driver to pg',
    ])
  return new URL(`https://${host.replace(/^[^.]+\./, 'api.')}/sql`)
}
