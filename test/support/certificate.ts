// Throw-away X.509 certificates: node:crypto can read certificates but not make them, and openssl is not everywhere.

import { generateKeyPairSync, sign } from 'node:crypto'
import { isIPv4 } from 'node:net'

/** One DER element: tag, length, content. */
function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents)
  const bytes = Buffer.from(content.length.toString(16).padStart(content.length < 256 ? 2 : 4, '0'), 'hex')
  const length = content.length < 128 ? bytes : Buffer.concat([Buffer.from([0x80 + bytes.length]), bytes])
  return Buffer.concat([Buffer.from([tag]), length, content])
}

const sequence = (...contents: readonly Buffer[]) => der(0x30, ...contents)
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'))
const integer = (value: number) => der(0x02, Buffer.from([value]))
const utcTime = (atMs: number) => der(0x17, Buffer.from(`${new Date(atMs).toISOString().slice(2, 19).replaceAll(/[-T:]/g, '')}Z`, 'latin1'))
const bitString = (bytes: Buffer) => der(0x03, Buffer.from([0]), bytes)
const nameOf = (text: string) => sequence(der(0x31, sequence(commonName, der(0x0c, Buffer.from(text)))))

// not Ed25519: channel binding needs the digest of the signature, which that one does not have
const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'))
const subjectAltName = oid('551d11')
const basicConstraints = oid('551d13')
const commonName = oid('550403')

export type Certificate = { readonly host: string; readonly key: string; readonly cert: string }

/**
 * Key and certificate for `host`, a name or an IPv4 address, as PEM, valid from 1970, or `fromMs`, until `untilMs`. Signed by `issuer`, else by itself.
 * An authority may sign others.
 */
export function createCertificate(options: {
  host: string
  untilMs: number
  fromMs?: number
  issuer?: Certificate
  isAuthority?: true
}): Certificate {
  const { host, untilMs, fromMs = 0, issuer } = options
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const altName = isIPv4(host) ? der(0x87, Buffer.from(host.split('.').map(Number))) : der(0x82, Buffer.from(host, 'latin1'))
  const extensions = [
    sequence(subjectAltName, der(0x04, sequence(altName))),
    ...(options.isAuthority ? [sequence(basicConstraints, der(0x04, sequence(der(0x01, Buffer.from([0xff])))))] : []),
  ]
  const toSign = sequence(
    der(0xa0, integer(2)),
    integer(1),
    ecdsaWithSha256,
    nameOf(issuer?.host ?? host),
    sequence(utcTime(fromMs), utcTime(untilMs)),
    nameOf(host),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  )
  const whole = sequence(toSign, ecdsaWithSha256, bitString(sign('sha256', toSign, issuer?.key ?? key)))
  return { host, key, cert: `-----BEGIN CERTIFICATE-----\n${whole.toString('base64')}\n-----END CERTIFICATE-----\n` }
}
