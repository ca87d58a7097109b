// Alerts on the console, as their receivers would read them.

import type { Notifier } from '../../shared/health/alert/notifier.ts'
import { toSmsPart, toSubject } from '../../shared/health/alert/message-limits.ts'

export function consoleNotifier(write: (line: string) => void): Notifier {
  return {
    publish: async ({ subject, email, sms, severity }) => {
      const body = email.split('\n').map((line) => `  |   ${line}`.trimEnd())
      const phone = severity === 'critical' ? [`  | sms: ${toSmsPart(sms)}`] : []
      write(['', `  | email: ${toSubject(subject)}`, ...body, ...phone, ''].join('\n'))
    },
  }
}
