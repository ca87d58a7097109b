// `tokay explain CODE`: what a code in a log or an alert means, what Tokay does about it, what to do.

import { explain, type Explanation } from '../shared/resilience/explain-failure.ts'

/** Answers the exit code: 0, or 2 for a code that nobody knows. */
export function explainCode(given: string, options: { json?: boolean }): number {
  const explained = explain(given)
  if (options.json) console.log(JSON.stringify(explained))
  if (explained.kind === 'known') {
    if (!options.json) console.log(explained.explanations.map((e) => inWords(explained.code, e)).join('\n\n'))
    return 0
  }
  const { suggestions } = explained
  console.error(
    `tokay: ${given} is no SQLSTATE, errno or class of failure that Tokay knows. ` +
      (suggestions.length > 0
        ? `Did you mean ${suggestions.join(', ')}?`
        : 'Take it from the log: the fields sqlState, errno, class or reason.'),
  )
  return 2
}

function inWords(code: string, { class: failureClass, when, meaning, tokayDoes, action }: Explanation): string {
  const title = code === failureClass ? code : `${code} is ${failureClass}`
  return [
    `${title}${when ? `, when ${when}` : ''}`,
    `  ${meaning}`,
    '  What Tokay does:',
    ...tokayDoes.map((line) => `    ${line}`),
    '  What to do:',
    `    ${action}`,
  ].join('\n')
}
