// The state table on DynamoDB. One item: `key` (partition key), `version` (number), `data` (JSON text), `writer` (who wrote this version).
// `list` is a consistent scan: the table holds some twenty items, a few KB in all.

import { randomUUID } from 'node:crypto'
import {
  type AttributeValue,
  ConditionalCheckFailedException,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  ScanCommand,
} from '@aws-sdk/client-dynamodb'
import type { StateItem, StateTable } from '../state/state-table.ts'
import { type AwsTarget, awsCall, awsClientSettings, type CallOptions } from './aws-client.ts'

type Attributes = Record<string, AttributeValue>

export function createDynamodbStateTable(options: { tableName: string; aws?: AwsTarget }): StateTable {
  const TableName = options.tableName
  const client = new DynamoDBClient(awsClientSettings(options.aws))
  const on = (attempted: string) => `${attempted} DynamoDB table ${TableName}`

  async function list(): Promise<readonly StateItem[]> {
    const items: StateItem[] = []
    let start: Attributes | undefined
    do {
      const page = await awsCall(on('reading'), (call) =>
        client.send(new ScanCommand({ TableName, ConsistentRead: true, ...(start && { ExclusiveStartKey: start }) }), call),
      )
      for (const item of page.Items ?? []) items.push(toStateItem(item, TableName))
      start = page.LastEvaluatedKey
    } while (start)
    return items
  }

  async function compareAndSet(key: string, expectedVersion: number, data: unknown): Promise<boolean> {
    const writer = randomUUID()
    const isNew = expectedVersion === 0
    const put = new PutItemCommand({
      TableName,
      Item: { key: { S: key }, version: { N: String(expectedVersion + 1) }, data: { S: JSON.stringify(data) }, writer: { S: writer } },
      ConditionExpression: isNew ? 'attribute_not_exists(#key)' : '#version = :expected',
      ExpressionAttributeNames: isNew ? { '#key': 'key' } : { '#version': 'version' },
      ...(!isNew && { ExpressionAttributeValues: { ':expected': { N: String(expectedVersion) } } }),
    })
    return awsCall(on(`changing ${key} in`), async (call) => {
      try {
        await client.send(put, call)
        return true
      } catch (error) {
        if (!(error instanceof ConditionalCheckFailedException)) throw error
        // When the first attempt's answer got lost, the SDK sent it again and was refused by our own change: a lease would be won and not known to be.
        return (error.$metadata.attempts ?? 1) > 1 && (await writerOf(key, call)) === writer
      }
    })
  }

  async function writerOf(key: string, call: CallOptions): Promise<string | undefined> {
    const answer = await client.send(new GetItemCommand({ TableName, Key: { key: { S: key } }, ConsistentRead: true }), call)
    return answer.Item?.['writer']?.S
  }

  return {
    list,
    compareAndSet,
    async close() {
      client.destroy()
    },
  }
}

function toStateItem(item: Attributes, table: string): StateItem {
  const [key, version, data] = [item['key']?.S, item['version']?.N, item['data']?.S]
  if (key === undefined || version === undefined || data === undefined) {
    throw new Error(
      `DynamoDB table ${table} has the item "${key}" without version or data; delete it, or name the table that belongs to Tokay`,
    )
  }
  return { key, version: Number(version), data: JSON.parse(data) }
}
