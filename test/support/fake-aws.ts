// A strict AWS over HTTP for the real SDK: it speaks what the SDK sends (SNS: query and XML; CloudWatch, SQS, SSM: JSON; Lambda: REST),
// keeps the services' limits, fails as asked, and remembers what it received. Nothing of it knows the code under test.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import {
  FakeQueue,
  getParameter,
  invokeEvent,
  listSubscriptions,
  publish,
  type Published,
  type Put,
  putMetricData,
  Refusal,
  type Subscription,
} from './fake-aws-services.ts'

export type Service = 'sns' | 'cloudwatch' | 'sqs' | 'ssm' | 'lambda'

/**
 * `hang` never answers; `stall` begins an answer and never ends it; `trickle` goes on for ever, a byte at a time;
 * `lost-answer` does what was asked and then drops the connection.
 */
export type Failure = 'throttle' | 'error-500' | 'hang' | 'stall' | 'trickle' | 'lost-answer'

/** The three that leave a client waiting. False: it is another. */
export function keepsWaiting(failure: Failure | undefined, response: ServerResponse): boolean {
  if (failure !== 'hang' && failure !== 'stall' && failure !== 'trickle') return false
  if (failure !== 'hang') response.writeHead(200, { 'content-length': 1_000 }).write('{')
  if (failure === 'trickle') {
    const drip = setInterval(() => response.write(' '), 200)
    response.on('close', () => clearInterval(drip))
  }
  return true
}

const throttles: Record<Service, [code: string, status: number]> = {
  sns: ['Throttling', 400],
  cloudwatch: ['ThrottlingException', 400],
  sqs: ['RequestThrottled', 400],
  ssm: ['ThrottlingException', 400],
  lambda: ['TooManyRequestsException', 429],
}

export async function startFakeAws() {
  const published: Published[] = []
  const subscriptions: Subscription[] = []
  const metrics: Put[] = []
  const invoked: { functionName: string; event: unknown }[] = []
  const parameters = new Map<string, string>()
  const functions = new Set<string>()
  const queues = new Map<string, FakeQueue>()
  /** Every request as it arrived, such as `sns Publish`, failed ones included. */
  const requests: string[] = []
  const failures: { service: Service; failure: Failure }[] = []
  let passedMs = 0

  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      response.writeHead(599).end(`the fake broke: ${String(error)}`)
    })
  })

  async function serve(request: IncomingMessage, response: ServerResponse) {
    const raw = await buffer(request)
    const body = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw).toString()
    const call = toCall(request, body)
    requests.push(`${call.service} ${call.action}`)
    const failure = takeFailure(call.service)
    if (keepsWaiting(failure, response)) return
    try {
      if (!request.headers.authorization?.startsWith('AWS4-HMAC-SHA256 Credential=')) {
        throw new Refusal('MissingAuthenticationToken', 'Missing Authentication Token', 403)
      }
      if (failure === 'throttle') throw new Refusal(throttles[call.service][0], 'Rate exceeded', throttles[call.service][1])
      if (failure === 'error-500') throw new Refusal('InternalFailure', 'Internal failure', 500)
      const answer = answerTo(call, body)
      if (failure === 'lost-answer') return void request.socket.destroy()
      respond(response, call, answer)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      refuse(response, call, error)
    }
  }

  function takeFailure(service: Service): Failure | undefined {
    const at = failures.findIndex((f) => f.service === service)
    return at < 0 ? undefined : failures.splice(at, 1)[0]?.failure
  }

  function answerTo({ service, action, name, invocationType }: Call, body: string): object {
    switch (service) {
      case 'sns': {
        const form = Object.fromEntries(new URLSearchParams(body))
        if (action === 'ListSubscriptionsByTopic') return listSubscriptions(form, subscriptions)
        published.push(publish(form))
        return { MessageId: '5f2b0c1e' }
      }
      case 'cloudwatch':
        if (Buffer.byteLength(body) > 1_048_576) throw new Refusal('RequestEntityTooLarge', 'Request size exceeds 1048576 bytes', 413)
        metrics.push(...putMetricData(JSON.parse(body)))
        return {}
      case 'ssm':
        return getParameter(JSON.parse(body), parameters)
      case 'lambda':
        invoked.push(invokeEvent(name, invocationType, body, functions))
        return {}
      case 'sqs':
        return queueAnswer(action, JSON.parse(body))
      default:
        return service satisfies never
    }
  }

  function queueAnswer(action: string, input: Record<string, any>): object {
    const queue = queues.get(input['QueueUrl'])
    if (!queue) throw new Refusal('AWS.SimpleQueueService.NonExistentQueue', 'The specified queue does not exist.')
    const nowMs = Date.now() + passedMs
    if (action === 'SendMessage') return queue.sendMessage(input)
    if (action === 'ReceiveMessage') return queue.receiveMessage(input, nowMs)
    if (action === 'DeleteMessageBatch') return queue.deleteMessageBatch(input)
    if (action === 'ChangeMessageVisibilityBatch') return queue.changeMessageVisibilityBatch(input, nowMs)
    if (action === 'GetQueueAttributes') return queue.getQueueAttributes(input, nowMs)
    throw new Refusal('InvalidAction', `The action ${action} is not valid for this endpoint.`)
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  return {
    target: { endpoint, region: 'us-east-1', credentials: { accessKeyId: 'testing', secretAccessKey: 'testing' } },
    published,
    subscriptions,
    metrics,
    invoked,
    parameters,
    functions,
    requests,
    /** Makes an empty queue. */
    addQueue(name: string) {
      const url = `${endpoint}/123456789012/${name}`
      const queue = new FakeQueue()
      queues.set(url, queue)
      return { url, queue }
    },
    /** The next `times` requests to this service fail so. Failures of one service come in the order they were asked for. */
    failNext(service: Service, failure: Failure, times = 1) {
      for (let i = 0; i < times; i++) failures.push({ service, failure })
    },
    /** Whatever failures are still to come, don't. */
    forgetFailures() {
      failures.length = 0
    },
    /** Visibility timeouts run by this clock. */
    passTime(ms: number) {
      passedMs += ms
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export type FakeAws = Awaited<ReturnType<typeof startFakeAws>>

type Call = { service: Service; action: string; name: string; invocationType: string }

const targets: Record<string, Service> = { GraniteServiceVersion20100801: 'cloudwatch', AmazonSQS: 'sqs', AmazonSSM: 'ssm' }

function toCall(request: IncomingMessage, body: string): Call {
  const [target = '', action = ''] = String(request.headers['x-amz-target'] ?? '').split('.')
  const service = targets[target]
  if (service) return { service, action, name: '', invocationType: '' }
  const invoke = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/.exec(request.url ?? '')
  const invocationType = String(request.headers['x-amz-invocation-type'] ?? 'RequestResponse')
  if (invoke) return { service: 'lambda', action: 'Invoke', name: decodeURIComponent(invoke[1] ?? ''), invocationType }
  const form = new URLSearchParams(body)
  const snsAction = form.get('Action') ?? ''
  if (['Publish', 'ListSubscriptionsByTopic'].includes(snsAction))
    return { service: 'sns', action: snsAction, name: '', invocationType: '' }
  throw new Error(`no service of the fake takes ${request.method} ${request.url} ${target}.${action}${snsAction}`)
}

function respond(response: ServerResponse, { service, action }: Call, answer: object) {
  if (service === 'lambda') return response.writeHead(202).end()
  if (service !== 'sns') return response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify(answer))
  const xml = `<${action}Response xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><${action}Result>${toXml(answer)}</${action}Result></${action}Response>`
  return response.writeHead(200, { 'content-type': 'text/xml' }).end(xml)
}

function toXml(value: unknown): string {
  if (Array.isArray(value)) return value.map((one) => `<member>${toXml(one)}</member>`).join('')
  if (typeof value !== 'object' || value === null) return String(value)
  return Object.entries(value)
    .map(([name, inner]) => `<${name}>${toXml(inner)}</${name}>`)
    .join('')
}

function refuse(response: ServerResponse, { service }: Call, { code, message, status }: Refusal) {
  const type = status < 500 ? 'Sender' : 'Receiver'
  if (service === 'sns') {
    const xml = `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>${type}</Type><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`
    return response.writeHead(status, { 'content-type': 'text/xml' }).end(xml)
  }
  const headers = { 'content-type': 'application/x-amz-json-1.0', 'x-amzn-errortype': code, 'x-amzn-query-error': `${code};${type}` }
  return response.writeHead(status, headers).end(JSON.stringify({ __type: code, message }))
}
