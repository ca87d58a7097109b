import { afterAll, beforeAll } from 'vitest'
import { createDynamodbStateTable } from '../../shared/aws/dynamodb-state-table.ts'
import { startDynamodb } from '../support/dynamodb.ts'
import { stateTableSuite } from './state-table-suite.ts'

let dynamodb: Awaited<ReturnType<typeof startDynamodb>>

beforeAll(async () => {
  dynamodb = await startDynamodb()
})
afterAll(() => dynamodb.close())

stateTableSuite('DynamoDB', async () => createDynamodbStateTable({ tableName: await dynamodb.createTable(), aws: dynamodb.target }))
