// Parked writes on SQS. A message's body is gzip + base64 of one ParkedWrite as JSON.
// A batch that is too large for a message is split by its rows: every part can be written alone, because rows are idempotent and trades make sure of their pools.
// Nothing leaves the queue by the number of times it was received: an outage of an hour is many receives. Only `setAside` moves a message, with its reason.

import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import {
  type BatchResultErrorEntry,
  ChangeMessageVisibilityBatchCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { emptyBatch, halves, rowCount } from '../collect/batch.ts'
import { newestVersion, type ParkedWrite, type ParkedWrites, type Received } from '../collect/parked-writes.ts'
import { consoleLog, type Log } from '../log.ts'
import { parkedHiddenForS } from '../names.ts'
import { type AwsTarget, awsCall, awsClientSettings } from './aws-client.ts'

/** SQS takes 1 MiB. Small messages keep ten of them, received at once, a bounded piece of memory and one reasonable transaction. */
const maxBodyBytes = 200 * 1024

/** A long poll asks all of SQS's servers; a short one asks some and may answer "empty" while messages wait. */
const pollSeconds = 1

/** One attempt at it. Two of these, as any other call, stay below 3.5 s. */
const pollForMs = 1_650

/** SQS takes ten entries a call. */
const maxEntries = 10

/** Attribute values may hold neither control characters nor much text. */
const attributeText = (text: string) => text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 1_000) || '?'

export function sqsParkedWrites(options: { queueUrl: string; deadLetterUrl: string; aws?: AwsTarget; log?: Log }): ParkedWrites {
  const { queueUrl: QueueUrl, deadLetterUrl } = options
  const client = new SQSClient(awsClientSettings(options.aws))
  const log = options.log ?? consoleLog

  const send = (url: string, body: string, attributes: Record<string, string>) =>
    awsCall(`sending a parked write to ${url}`, (call) =>
      client.send(
        new SendMessageCommand({
          QueueUrl: url,
          MessageBody: body,
          MessageAttributes: Object.fromEntries(
            Object.entries(attributes).map(([name, text]) => [name, { DataType: 'String', StringValue: attributeText(text) }]),
          ),
        }),
        call,
      ),
    )

  async function receiveOnce(max: number): Promise<Message[]> {
    const answer = await awsCall(`receiving from ${QueueUrl}`, (call) =>
      client.send(
        new ReceiveMessageCommand({
          QueueUrl,
          MaxNumberOfMessages: Math.min(max, maxEntries),
          VisibilityTimeout: parkedHiddenForS,
          WaitTimeSeconds: pollSeconds,
        }),
        { ...call, requestTimeout: pollForMs },
      ),
    )
    return answer.Messages ?? []
  }

  async function toDeadLetters(body: string, receipt: string, reason: string): Promise<void> {
    await send(deadLetterUrl, body, { reason })
    await remove([receipt])
  }

  /** Undefined: not for this code. What can't be read goes to the dead letters; what newer code has parked stays queued for newer code. */
  async function read(message: Message): Promise<Received | undefined> {
    const [body, receipt] = [message.Body ?? '', message.ReceiptHandle ?? '']
    const decoded = await decode(body)
    if ('unreadable' in decoded) {
      log.error({ event: 'parked.unreadable', messageId: message.MessageId, reason: decoded.unreadable })
      await toDeadLetters(body, receipt, `unreadable: ${decoded.unreadable}`)
      return undefined
    }
    if (decoded.write.schemaVersion > newestVersion) {
      log.warn({ event: 'parked.newer_version', messageId: message.MessageId, schemaVersion: decoded.write.schemaVersion })
      return undefined
    }
    return { write: decoded.write, receipt }
  }

  /** Deletes ten at a time. SQS answers for each entry: what it failed on by its own fault is tried once more. */
  async function remove(receipts: readonly string[]): Promise<void> {
    for (const some of tens(receipts)) {
      const deleteThese = async (handles: readonly string[]) => {
        const Entries = handles.map((ReceiptHandle, i) => ({ Id: String(i), ReceiptHandle }))
        const answer = await awsCall(`deleting ${handles.length} messages from ${QueueUrl}`, (call) =>
          client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }), call),
        )
        return answer.Failed ?? []
      }
      let refused = await deleteThese(some)
      if (refused.some((r) => !r.SenderFault)) refused = await deleteThese(refused.map((r) => some[Number(r.Id)] as string))
      if (refused.length > 0) {
        throw new Error(
          `deleting ${refused.length} of ${some.length} messages from ${QueueUrl} failed: ${codes(refused)}; ` +
            `they come back after ${parkedHiddenForS} s and are written again, which changes no row`,
        )
      }
    }
  }

  async function release(receipts: readonly string[]): Promise<void> {
    for (const some of tens(receipts)) {
      const Entries = some.map((ReceiptHandle, i) => ({ Id: String(i), ReceiptHandle, VisibilityTimeout: 0 }))
      const answer = await awsCall(`releasing ${some.length} messages of ${QueueUrl}`, (call) =>
        client.send(new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries }), call),
      )
      const refused = answer.Failed ?? []
      // No error: these come back by themselves when their 60 s are over, or already have.
      if (refused.length > 0) log.warn({ event: 'parked.not_released', messages: refused.length, codes: codes(refused) })
    }
  }

  return {
    async park(write) {
      const bodies = await encodeParts(write)
      const { reason, collector } = write
      await Promise.all(bodies.map((body) => send(QueueUrl, body, { reason, collector })))
    },

    /** Also counts what somebody has received and not yet removed: it is not in the database. */
    async depth() {
      const answer = await awsCall(`counting the messages of ${QueueUrl}`, (call) =>
        client.send(
          new GetQueueAttributesCommand({
            QueueUrl,
            AttributeNames: ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible', 'ApproximateNumberOfMessagesDelayed'],
          }),
          call,
        ),
      )
      return Object.values(answer.Attributes ?? {}).reduce((sum, count) => sum + Number(count), 0)
    },

    /** Up to ten a call; empty only when nothing is left that this code can read. */
    async receive(max) {
      for (;;) {
        const messages = await receiveOnce(max)
        if (messages.length === 0) return []
        const readable = (await Promise.all(messages.map(read))).filter((r) => r !== undefined)
        if (readable.length > 0) return readable.toSorted((a, b) => a.write.parkedAtMs - b.write.parkedAtMs)
      }
    },

    remove,
    release,

    async setAside(received, reason) {
      for (const body of await encodeParts(received.write)) await send(deadLetterUrl, body, { reason, collector: received.write.collector })
      await remove([received.receipt])
    },
  }
}

/** One body for each message. A part's id is the whole's with `.1` or `.2`, so that parking again gives the same ids. */
async function encodeParts(write: ParkedWrite): Promise<string[]> {
  const body = (await promisify(gzip)(JSON.stringify(write))).toString('base64')
  // A single row above the limit goes as it is: SQS takes five times as much.
  if (body.length <= maxBodyBytes || rowCount(write.batch) < 2) return [body]
  const [first, second] = halves(write.batch)
  const parts = [
    { ...write, id: `${write.id}.1`, batch: first },
    { ...write, id: `${write.id}.2`, batch: second },
  ]
  return (await Promise.all(parts.map(encodeParts))).flat()
}

async function decode(body: string): Promise<{ write: ParkedWrite } | { unreadable: string }> {
  try {
    const write = JSON.parse((await promisify(gunzip)(Buffer.from(body, 'base64'))).toString()) as ParkedWrite
    if (!Number.isInteger(write.schemaVersion) || !write.batch) return { unreadable: 'not a parked write' }
    // an older one has fewer tables
    return { write: { ...write, batch: { ...emptyBatch, ...write.batch } } }
  } catch (error) {
    return { unreadable: error instanceof Error ? error.message : String(error) }
  }
}

const codes = (refused: readonly BatchResultErrorEntry[]) => [...new Set(refused.map((r) => r.Code ?? 'unknown'))].join(', ')

function tens<Item>(items: readonly Item[]): Item[][] {
  const chunks: Item[][] = []
  for (let from = 0; from < items.length; from += maxEntries) chunks.push(items.slice(from, from + maxEntries))
  return chunks
}
