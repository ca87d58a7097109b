// DynamoDB for tests: dynalite in this process, with tables shaped as the stack makes them, and with the failures of the strict fake.

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import dynalite from 'dynalite'
import { type Failure, keepsWaiting } from './fake-aws.ts'

export async function startDynamodb() {
  const server = dynalite({ createTableMs: 0 })
  const failures: Failure[] = []
  /** Actions in the order of their arrival, such as `Scan`. */
  const requests: string[] = []
  const [serve] = server.listeners('request') as [RequestListener]
  server.removeAllListeners('request').on('request', (request: IncomingMessage, response: ServerResponse) => {
    requests.push(String(request.headers['x-amz-target']).split('.')[1] ?? '')
    const failure = failures.shift()
    if (failure === undefined) return serve(request, response)
    if (keepsWaiting(failure, response)) return undefined
    if (failure === 'lost-answer') {
      response.end = () => (request.socket.destroy(), response)
      return serve(request, response)
    }
    const [status, code] = failure === 'throttle' ? [400, 'ThrottlingException'] : [500, 'InternalServerError']
    const body = JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${code}`, message: 'scripted' })
    return response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' }).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  let tables = 0

  /** One call in DynamoDB's own words. dynalite looks whether a request is signed, not by whom. */
  async function call(action: string, input: object): Promise<any> {
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-amz-json-1.0',
        'x-amz-target': `DynamoDB_20120810.${action}`,
        'x-amz-date': '20250915T000000Z',
        authorization: 'AWS4-HMAC-SHA256 Credential=testing/20250915/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0',
      },
      body: JSON.stringify(input),
    })
    if (!response.ok) throw new Error(`${action}: ${await response.text()}`)
    return response.json()
  }

  return {
    target: { endpoint, region: 'us-east-1', credentials: { accessKeyId: 'testing', secretAccessKey: 'testing' } },
    call,
    requests,
    /** The next `times` requests fail so. */
    failNext(failure: Failure, times = 1) {
      for (let i = 0; i < times; i++) failures.push(failure)
    },
    /** A new, empty state table; answers its name. */
    async createTable(TableName = `tokay-test-${++tables}`): Promise<string> {
      await call('CreateTable', {
        TableName,
        BillingMode: 'PAY_PER_REQUEST',
        AttributeDefinitions: [{ AttributeName: 'key', AttributeType: 'S' }],
        KeySchema: [{ AttributeName: 'key', KeyType: 'HASH' }],
      })
      for (;;) {
        // A table is ACTIVE some ticks after its creation, even with no delay asked for.
        const { Table } = await call('DescribeTable', { TableName })
        if (Table.TableStatus === 'ACTIVE') return TableName
      }
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
