// What only DynamoDB's state table has to get right, beside the conformance suite: lost answers, pages, foreign items.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createDynamodbStateTable } from '../../shared/aws/dynamodb-state-table.ts'
import { startDynamodb } from '../support/dynamodb.ts'

describe('the state table on DynamoDB', () => {
  let dynamodb: Awaited<ReturnType<typeof startDynamodb>>
  beforeAll(async () => {
    dynamodb = await startDynamodb()
  })
  afterAll(() => dynamodb.close())

  const openTable = async () => createDynamodbStateTable({ tableName: await dynamodb.createTable(), aws: dynamodb.target })

  it('a change whose answer got lost is known to be ours when the second attempt is refused', async () => {
    const table = await openTable()
    await table.compareAndSet('breaker:database', 0, { state: 'open' })
    dynamodb.failNext('lost-answer')

    expect(await table.compareAndSet('breaker:database', 1, { state: 'closed' })).toBe(true)
    expect(await table.list()).toEqual([{ key: 'breaker:database', version: 2, data: { state: 'closed' } }])
  })

  it('a first change whose answer got lost is known to be ours', async () => {
    const table = await openTable()
    dynamodb.failNext('lost-answer')

    expect(await table.compareAndSet('alerts', 0, {})).toBe(true)
  })

  it.each(['throttle', 'error-500', 'hang'] as const)('one %s is tried again', async (failure) => {
    const table = await openTable()
    dynamodb.failNext(failure)

    expect(await table.compareAndSet('alerts', 0, {})).toBe(true)
  })

  it('more than one page of items is listed whole', async () => {
    const tableName = await dynamodb.createTable()
    const table = createDynamodbStateTable({ tableName, aws: dynamodb.target })
    const big = 'x'.repeat(300_000)
    for (let i = 0; i < 6; i++) await table.compareAndSet(`collector:${i}`, 0, big)

    const page = await dynamodb.call('Scan', { TableName: tableName })
    expect(page.Items.length).toBeLessThan(6)
    expect((await table.list()).map((item) => item.key).toSorted()).toEqual([0, 1, 2, 3, 4, 5].map((i) => `collector:${i}`))
  })

  it('an item that is not ours is named instead of being taken for empty state', async () => {
    const tableName = await dynamodb.createTable()
    await dynamodb.call('PutItem', { TableName: tableName, Item: { key: { S: 'terraform-lock' } } })

    await expect(createDynamodbStateTable({ tableName, aws: dynamodb.target }).list()).rejects.toThrow(
      `DynamoDB table ${tableName} has the item "terraform-lock" without version or data`,
    )
  })

  it('a table that does not exist is named', async () => {
    await expect(createDynamodbStateTable({ tableName: 'nowhere', aws: dynamodb.target }).list()).rejects.toThrow(
      'reading DynamoDB table nowhere failed: ResourceNotFoundException',
    )
  })
})
