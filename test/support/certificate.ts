// A throw-away X.509 certificate, signed by itself: node:crypto can read certificates but not make them, and openssl is not everywhere.

import { generateKeyPairSync, sign } from 'node:crypto'

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

const ed25519 = sequence(oid('2b6570'))
const subjectAltName = oid('551d11')
const commonName = oid('550403')

/** Key and certificate for `host` as PEM, valid from 1970 until `untilMs`. */
export function createCertificate({ host, untilMs }: { host: string; untilMs: number }): { key: string; cert: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const name = sequence(der(0x31, sequence(commonName, der(0x0c, Buffer.from(host)))))
  const altNames = sequence(der(0x82, Buffer.from(host, 'latin1')))
  const toSign = sequence(
    der(0xa0, integer(2)),
    integer(1),
    ed25519,
    name,
    sequence(utcTime(0), utcTime(untilMs)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(sequence(subjectAltName, der(0x04, altNames)))),
  )
  const whole = sequence(toSign, ed25519, bitString(sign(null, toSign, privateKey)))
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${whole.toString('base64')}\n-----END CERTIFICATE-----\n`,
  }
}
