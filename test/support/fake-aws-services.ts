// What each AWS service of the fake accepts, refuses and answers. The limits are AWS's own, from its API references: emulators let most of them pass.

import { createHash, randomUUID } from 'node:crypto'

/** An answer that says no, as the service would: code, HTTP status, message. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly code: string
  readonly status: number
  constructor(code: string, message: string, status = 400) {
    super(message)
    this.code = code
    this.status = status
  }
}

type Input = Record<string, any>

export type Published = { topicArn: string; subject: string; message: Record<string, string>; attributes: Record<string, string> }

const topicArn = /^arn:aws:sns:[a-z0-9-]+:\d{12}:[\w-]+$/
const invalidParameter = (what: string) => new Refusal('InvalidParameter', `Invalid parameter: ${what}`)

/** SNS Publish. `form` is the query protocol's flat form. */
export function publish(form: Record<string, string>): Published {
  const { TopicArn = '', Message = '', Subject } = form
  if (!topicArn.test(TopicArn)) throw invalidParameter('TopicArn')
  if (Message === '') throw invalidParameter('Empty message')
  if (Buffer.byteLength(Message) > 262_144) throw invalidParameter('Message too long')
  if (Subject !== undefined && !/^[!-~][ -~]{0,98}$/.test(Subject)) throw invalidParameter('Subject')
  const message =
    form['MessageStructure'] === 'json'
      ? parseJson(Message, invalidParameter('Message Structure - JSON message body failed to parse'))
      : { default: Message }
  if (typeof message.default !== 'string' || message.default === '')
    throw invalidParameter('Message Structure - No default entry in JSON message body')
  const attributes: Record<string, string> = {}
  for (let i = 1; form[`MessageAttributes.entry.${i}.Name`] !== undefined; i++) {
    const [type, value] = ['DataType', 'StringValue'].map((key) => form[`MessageAttributes.entry.${i}.Value.${key}`])
    if (type !== 'String' || !value)
      throw new Refusal('ParameterValueInvalid', 'The message attribute must contain a type and a non-empty value')
    attributes[form[`MessageAttributes.entry.${i}.Name`] as string] = value
  }
  return { topicArn: TopicArn, subject: Subject ?? '', message, attributes }
}

/** One receiver of alerts; its mail's link was not clicked yet where it is not confirmed. */
export type Subscription = { endpoint: string; isConfirmed: boolean }

/** SNS ListSubscriptionsByTopic, which answers a hundred at a time. */
export function listSubscriptions(form: Record<string, string>, all: readonly Subscription[]) {
  const { TopicArn = '', NextToken = '0' } = form
  if (!topicArn.test(TopicArn)) throw invalidParameter('TopicArn')
  const end = Number(NextToken) + 100
  const Subscriptions = all.slice(Number(NextToken), end).map(({ endpoint, isConfirmed }, i) => ({
    TopicArn,
    Protocol: endpoint.includes('@') ? 'email' : 'sms',
    Endpoint: endpoint,
    SubscriptionArn: isConfirmed ? `${TopicArn}:${i}` : 'PendingConfirmation',
  }))
  return { Subscriptions, ...(end < all.length && { NextToken: String(end) }) }
}

export type Put = { namespace: string; name: string; unit: string } & ({ value: number } | { values: number[]; counts: number[] })

const invalidValue = (what: string) => new Refusal('InvalidParameterValue', what)

/** CloudWatch PutMetricData. */
export function putMetricData(input: Input): Put[] {
  const { Namespace = '', MetricData = [] } = input
  if (!/^[^:][ -~]{0,254}$/.test(Namespace) || Namespace.startsWith('AWS/'))
    throw invalidValue('The value for parameter Namespace is invalid.')
  if (MetricData.length === 0) throw new Refusal('MissingParameter', 'The parameter MetricData is required.')
  if (MetricData.length > 1_000) throw invalidValue('The collection MetricData must not have a size greater than 1000.')
  for (const m of MetricData) {
    if (!/^[ -~]{1,255}$/.test(m.MetricName ?? '')) throw invalidValue('The parameter MetricName is invalid.')
    if (m.Dimensions?.length > 30) throw invalidValue('The collection Dimensions must not have a size greater than 30.')
    if ((m.Value === undefined) === (m.Values === undefined))
      throw invalidValue('Exactly one of Value, Values and StatisticValues is needed.')
    if (m.Values?.length === 0 || m.Values?.length > 150) throw invalidValue('The collection Values must have a size of 1 to 150.')
    if (m.Values?.length !== m.Counts?.length) throw invalidValue('The parameters Values and Counts must be of the same size.')
    if (new Set(m.Values).size !== (m.Values?.length ?? 0)) throw invalidValue('Each value must be in the collection Values once.')
    // NaN and the infinities come as text
    for (const value of m.Values ?? [m.Value]) {
      if (typeof value !== 'number' || Math.abs(value) > 2 ** 360) throw invalidValue(`The value ${value} for parameter Value is invalid.`)
    }
    for (const count of m.Counts ?? []) {
      if (typeof count !== 'number' || count <= 0) throw invalidValue(`The value ${count} for parameter Counts is invalid.`)
    }
    if (!['Count', 'Milliseconds', 'Seconds', 'Percent', 'None', 'Bytes'].includes(m.Unit ?? 'None'))
      throw invalidValue('The parameter Unit is invalid.')
  }
  return MetricData.map(({ MetricName: name, Unit: unit, Value: value, Values: values, Counts: counts }: Input) => ({
    namespace: Namespace,
    name,
    unit,
    ...(values ? { values, counts } : { value }),
  }))
}

/** SSM GetParameter over SecureStrings. Without decryption only the cipher text comes back. */
export function getParameter(input: Input, parameters: ReadonlyMap<string, string>) {
  const value = parameters.get(input['Name'])
  if (value === undefined) throw new Refusal('ParameterNotFound', '')
  return { Parameter: { Name: input['Name'], Type: 'SecureString', Version: 1, Value: input['WithDecryption'] ? value : 'AQICAHg=' } }
}

/** Lambda Invoke, asynchronous. */
export function invokeEvent(functionName: string, invocationType: string, body: string, functions: ReadonlySet<string>) {
  if (!functions.has(functionName)) throw new Refusal('ResourceNotFoundException', `Function not found: ${functionName}`, 404)
  if (invocationType !== 'Event') throw new Refusal('InvalidParameterValueException', `The fake runs no function: ${invocationType}`)
  if (Buffer.byteLength(body) > 1_048_576) throw new Refusal('RequestTooLargeException', 'Request must be smaller than 1048576 bytes', 413)
  return { functionName, event: parseJson(body, new Refusal('InvalidRequestContentException', 'Could not parse request body into json')) }
}

type Stored = { id: string; body: string; attributes: Record<string, string>; receipt: string; visibleAtMs: number }

/** One standard queue. Its time is the fake's: a visibility timeout passes when the test says so. */
export class FakeQueue {
  readonly messages: Stored[] = []
  /** The next entries of batch calls fail with this code. */
  refuseEntries: { count: number; code: string; senderFault: boolean } = { count: 0, code: '', senderFault: false }

  sendMessage(input: Input) {
    const { MessageBody = '', MessageAttributes = {} } = input
    if (MessageBody === '') throw new Refusal('MissingParameter', 'The request must contain the parameter MessageBody.')
    const attributes: Record<string, string> = {}
    let bytes = Buffer.byteLength(MessageBody)
    for (const [name, { DataType, StringValue }] of Object.entries(MessageAttributes as Record<string, Input>)) {
      if (DataType !== 'String' || !StringValue) throw invalidValue(`The message attribute '${name}' must contain a value`)
      if (Array.from(String(StringValue)).some((char) => char < ' ' && !'\t\n\r'.includes(char)))
        throw new Refusal('InvalidMessageContents', 'Invalid characters found')
      attributes[name] = StringValue
      bytes += Buffer.byteLength(name + DataType + StringValue)
    }
    if (bytes > 1_048_576) throw invalidValue('One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.')
    const id = randomUUID()
    this.messages.push({ id, body: MessageBody, attributes, receipt: '', visibleAtMs: 0 })
    return { MessageId: id, MD5OfMessageBody: md5(MessageBody) }
  }

  receiveMessage(input: Input, nowMs: number) {
    const { MaxNumberOfMessages = 1, VisibilityTimeout = 30, WaitTimeSeconds = 0 } = input
    if (MaxNumberOfMessages < 1 || MaxNumberOfMessages > 10)
      throw invalidValue('MaxNumberOfMessages must be between 1 and 10, if provided.')
    if (WaitTimeSeconds > 20) throw invalidValue('WaitTimeSeconds must be >= 0 and <= 20, if provided.')
    const found = this.messages.filter((m) => m.visibleAtMs <= nowMs).slice(0, MaxNumberOfMessages)
    for (const m of found) Object.assign(m, { receipt: randomUUID(), visibleAtMs: nowMs + VisibilityTimeout * 1000 })
    if (found.length === 0) return {}
    return { Messages: found.map((m) => ({ MessageId: m.id, ReceiptHandle: m.receipt, Body: m.body, MD5OfBody: md5(m.body) })) }
  }

  deleteMessageBatch(input: Input) {
    return this.#batch(input, (entry) => {
      const at = this.messages.findIndex((m) => m.receipt === entry['ReceiptHandle'])
      if (at >= 0) this.messages.splice(at, 1)
    })
  }

  changeMessageVisibilityBatch(input: Input, nowMs: number) {
    return this.#batch(input, (entry) => {
      const message = this.messages.find((m) => m.receipt === entry['ReceiptHandle'])
      if (!message || message.visibleAtMs <= nowMs) throw invalidValue('Message is not available for visibility timeout change.')
      message.visibleAtMs = nowMs + entry['VisibilityTimeout'] * 1000
    })
  }

  getQueueAttributes(input: Input, nowMs: number) {
    const hidden = this.messages.filter((m) => m.visibleAtMs > nowMs).length
    const all: Record<string, string> = {
      ApproximateNumberOfMessages: String(this.messages.length - hidden),
      ApproximateNumberOfMessagesNotVisible: String(hidden),
      ApproximateNumberOfMessagesDelayed: '0',
    }
    const names: string[] = input['AttributeNames'] ?? []
    const unknown = names.find((name) => !(name in all))
    if (unknown) throw new Refusal('InvalidAttributeName', `Unknown Attribute ${unknown}.`)
    return { Attributes: Object.fromEntries(names.map((name) => [name, all[name]])) }
  }

  #batch(input: Input, apply: (entry: Input) => void) {
    const entries: Input[] = input['Entries'] ?? []
    if (entries.length === 0)
      throw new Refusal('AWS.SimpleQueueService.EmptyBatchRequest', 'There should be at least one entry in the request.')
    if (entries.length > 10)
      throw new Refusal('AWS.SimpleQueueService.TooManyEntriesInBatchRequest', 'Maximum number of entries per request are 10.')
    const ids = entries.map((e) => e['Id'])
    if (new Set(ids).size < ids.length)
      throw new Refusal('AWS.SimpleQueueService.BatchEntryIdsNotDistinct', 'Two or more batch entries in the request have the same Id.')
    const [Successful, Failed]: [Input[], Input[]] = [[], []]
    for (const entry of entries) {
      try {
        if (this.refuseEntries.count-- > 0)
          throw new Refusal(this.refuseEntries.code, 'scripted', this.refuseEntries.senderFault ? 400 : 500)
        apply(entry)
        Successful.push({ Id: entry['Id'] })
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        Failed.push({ Id: entry['Id'], Code: error.code, SenderFault: error.status < 500, Message: error.message })
      }
    }
    return { Successful, Failed }
  }
}

const md5 = (text: string) => createHash('md5').update(text).digest('hex')

function parseJson(text: string, refusal: Refusal) {
  try {
    return JSON.parse(text)
  } catch {
    throw refusal // the service says why, not our parser
  }
}
