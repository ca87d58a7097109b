// Stands in for AWS's own runtime interface client (aws-lambda-ric 4) in the child process of the local Lambda: loads the handler, asks for events,
// sends results and errors, writes console calls as JSON lines. It is bundled like the functions, so that starting it costs what starting JavaScript costs.

import { request } from 'node:http'
import { pathToFileURL } from 'node:url'

const { AWS_LAMBDA_RUNTIME_API = '', LAMBDA_TASK_ROOT = '', _HANDLER = '' } = process.env
const invocation = '/2018-06-01/runtime/invocation'

type Answer = { readonly headers: NodeJS.Dict<string | string[]>; readonly body: string }

/** One call of the Runtime API. Without a Lambda on the other side there is nothing to live for. */
const call = (method: string, path: string, content?: string) =>
  new Promise<Answer>((resolve) => {
    const asked = request(`http://${AWS_LAMBDA_RUNTIME_API}${path}`, { method }, async (response) => {
      let body = ''
      for await (const chunk of response.setEncoding('utf8')) body += chunk
      resolve({ headers: response.headers, body })
    })
    asked.on('error', () => process.exit(1)).end(content)
  })

/** As the real one shows errors: their own enumerable fields too, but not their cause. */
const shown = (error: unknown) =>
  error instanceof Error
    ? { errorType: error.name, errorMessage: error.message, stackTrace: error.stack?.split('\n'), ...error }
    : { errorType: typeof error, errorMessage: String(error), stackTrace: [] }
const asJson = (value: unknown) => JSON.stringify(value, (_key, part: unknown) => (part instanceof Error ? shown(part) : part))

let requestId: string | undefined
const write = (level: string, fields: object) =>
  void process.stdout.write(`${asJson({ timestamp: new Date().toISOString(), level, requestId, ...fields })}\n`)
for (const level of ['debug', 'info', 'log', 'warn', 'error'] as const)
  console[level] = (...said: unknown[]) =>
    write(level === 'log' ? 'INFO' : level.toUpperCase(), { message: said.length === 1 ? said[0] : said })

const report = (error: unknown) => {
  write('ERROR', shown(error))
  return call('POST', requestId ? `${invocation}/${requestId}/error` : '/2018-06-01/runtime/init/error', asJson(error))
}
async function giveUp(error: unknown, code: number): Promise<never> {
  await report(error)
  return process.exit(code)
}
process.on('uncaughtException', (error) => void giveUp(error, 129))
process.on('unhandledRejection', (error) => void giveUp(error, 128))

const refusal = (name: string, message: string) => Object.assign(new Error(message), { name })

async function load() {
  const [file, name = ''] = _HANDLER.split('.')
  const { [name]: handler } = (await import(pathToFileURL(`${LAMBDA_TASK_ROOT}/${file}.mjs`).href)) as Record<string, unknown>
  if (typeof handler !== 'function') throw refusal('Runtime.HandlerNotFound', `${_HANDLER} is undefined or not exported`)
  if (handler.length > 2) throw refusal('Runtime.CallbackHandlerDeprecated', `${_HANDLER} takes a callback, which Node 24 does not have`)
  return handler as (event: unknown, context: object) => unknown
}

const handler = await load().catch((error: unknown) => giveUp(error, 1))
for (;;) {
  const { headers, body } = await call('GET', `${invocation}/next`)
  requestId = String(headers['lambda-runtime-aws-request-id'])
  const getRemainingTimeInMillis = () => Math.max(0, Number(headers['lambda-runtime-deadline-ms']) - Date.now())
  try {
    const result = await handler(JSON.parse(body), { awsRequestId: requestId, getRemainingTimeInMillis })
    await call('POST', `${invocation}/${requestId}/response`, JSON.stringify(result ?? null))
  } catch (error) {
    await report(error)
  }
}
