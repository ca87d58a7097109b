// The port of alerts: one message, written once for each way it is read. SNS on AWS, the console in the local run.

/**
 * `subject` and `email` may hold any text; an adapter cuts them to what its channel takes.
 * `sms` should fit one part of GSM-7: about 140 characters, no emoji, no dash but "-".
 * `severity` decides who gets it: a phone receives critical messages only.
 */
export type AlertMessage = {
  readonly subject: string
  readonly email: string
  readonly sms: string
  readonly severity: 'critical' | 'warning' | 'info'
}

export interface Notifier {
  /** Resolves once the channel has taken it. Throws when it has not, or may not have: publishing again can then make a second one. */
  publish(message: AlertMessage): Promise<void>
}
