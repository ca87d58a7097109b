// What to do about a connection that is refused for TLS or for the URL's parameters, in the error itself: it is met by whoever sets an
// installation up, long before anybody reads the health check's report. Data; no part of the URL is in it.

type Refusal = { readonly message: string; readonly errno?: string | undefined; readonly sqlState?: string | undefined }

/** Codes are OpenSSL's, as Node hands them on. */
const advice: readonly {
  readonly errno?: RegExp
  readonly sqlStates?: readonly string[]
  readonly message?: RegExp
  readonly says: string
}[] = [
  {
    errno: /^CERT_HAS_EXPIRED$/,
    says: "the server's certificate is out of date: renew it on the server, unless this machine's clock is wrong",
  },
  { errno: /^CERT_NOT_YET_VALID$/, says: "the server's certificate is not valid yet: set the clocks of both machines right" },
  {
    errno:
      /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT(?:_LOCALLY)?|UNABLE_TO_VERIFY_LEAF_SIGNATURE)$/,
    says:
      "the server's certificate is signed by nobody who is trusted here: name the PEM file of its authority in the Postgres URL, " +
      'sslrootcert=/path/ca.pem (Amazon RDS from a Lambda function: sslrootcert=/var/runtime/ca-cert.pem)',
  },
  {
    errno: /^(?:ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)$/,
    says: "the server's certificate is for another host: write the host in the Postgres URL as the certificate names it",
  },
  {
    errno: /^ERR_SSL_.*ALERT_(?:UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_(?:EXPIRED|UNKNOWN|REVOKED))$/,
    says: 'the server does not accept our client certificate: see sslcert and sslkey in the Postgres URL, and the authority that the server trusts',
  },
  {
    errno: /^ERR_SSL_.*CERTIFICATE_REQUIRED$/,
    says: 'the server wants a client certificate: name its PEM files in the Postgres URL, sslcert=/path/client.pem&sslkey=/path/client.key',
  },
  { errno: /^(?:ERR_SSL_|EPROTO$)/, says: 'no common version or cipher of TLS: see what the server, or a pooler before it, allows' },
  {
    message: /does not support SSL/,
    says: 'switch TLS on at the server, or at the pooler before it; only where nobody else is on the network between: sslmode=disable in the Postgres URL',
  },
  { message: /establishing an SSL connection/, says: 'what listens there does not speak the Postgres protocol: see host and port' },
  {
    sqlStates: ['28000', '08P01'],
    message: /client certificate|certificate authentication failed/,
    says: 'the server wants a client certificate: name its PEM files in the Postgres URL, sslcert=/path/client.pem&sslkey=/path/client.key',
  },
  {
    sqlStates: ['28000', '08P01'],
    message: /no encryption|(?:SSL|TLS connection) required/,
    says: 'the server takes TLS only: set sslmode=verify-full in the Postgres URL',
  },
  {
    sqlStates: ['08P01'],
    message: /unsupported startup parameter/,
    says: 'a pooler passes no such parameter on: take it out of the Postgres URL, and set it for the role (alter role ... set)',
  },
]

/** Follows the driver's own words. Undefined: they say enough. */
export const connectAdvice = ({ message, errno, sqlState }: Refusal): string | undefined =>
  advice.find(
    (row) =>
      (row.errno === undefined || (errno !== undefined && row.errno.test(errno))) &&
      (row.sqlStates === undefined || row.sqlStates.includes(sqlState ?? '')) &&
      (row.message === undefined || row.message.test(message)),
  )?.says
