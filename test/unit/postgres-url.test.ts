import { describe, expect, it } from 'vitest'
import { parsePostgresUrl } from '../../shared/db/postgres-url.ts'
import { ConfigError } from '../../shared/errors.ts'

describe('parsePostgresUrl', () => {
  it('takes a URL apart and decodes it', () => {
    expect(parsePostgresUrl('postgresql://us%40er:p%3Aw%2F@db.example:6543/na%20me?application_name=x&options=-c%20a%3Db')).toEqual({
      host: 'db.example',
      port: 6543,
      user: 'us@er',
      password: 'p:w/',
      database: 'na me',
      ssl: { rejectUnauthorized: true },
      enableChannelBinding: false,
      options: '-c a=b',
      applicationName: 'x',
    })
  })

  it.each([
    ['postgres://u:p@db.example/d', true],
    ['postgres://u:p@db.example/d?sslmode=prefer', true],
    ['postgres://u:p@db.example/d?sslmode=require', true],
    ['postgres://u:p@db.example/d?sslmode=no-verify', true],
    ['postgres://u:p@db.example/d?sslmode=disable', false],
    ['postgres://u:p@localhost/d', false],
    ['postgres://u:p@127.0.0.1/d?sslmode=prefer', false],
    ['postgres://u:p@[::1]/d', false],
    ['postgres://u:p@localhost/d?sslmode=verify-full', true],
    ['postgres://u:p@127.0.0.1.example/d', true],
    ['postgres://u:p@x/d?host=/var/run/postgresql', false],
  ])('%s verifies TLS: %s', (url, verified) => {
    expect(parsePostgresUrl(url).ssl).toEqual(verified ? { rejectUnauthorized: true } : false)
  })

  it('asks for channel binding when the URL does', () => {
    expect(parsePostgresUrl('postgres://u:p@db.example/d?sslmode=require&channel_binding=require').enableChannelBinding).toBe(true)
  })

  it('uses port 5432 and the host without brackets', () => {
    expect(parsePostgresUrl('postgres://u:p@[::1]/d')).toMatchObject({ host: '::1', port: 5432 })
  })

  it.each([
    ['hunter2', 'is not a URL'],
    ['', 'is not a URL'],
    ['postgres://u:hun#ter2@h/d', 'is not a URL'],
    ['mysql://u:hunter2@h/d', 'does not start with postgres://'],
    ['postgres://u:hunter2%@h/d', 'has a % that is no percent-encoding'],
    ['postgres://:hunter2@h', 'has no user, no database'],
    ['postgres://h/d', 'has no user'],
  ])('refuses a wrong URL without showing it (%#)', (url, what) => {
    let thrown: unknown
    try {
      parsePostgresUrl(url)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(ConfigError)
    const error = thrown as ConfigError
    expect(error.message).toMatch(new RegExp(`^DATABASE_URL ${what.replace('%', '%')}\\.`))
    expect(JSON.stringify([error.message, error.problems, error.cause, error.stack])).not.toContain('hunter2')
  })
})
