// Starts another function without waiting for it: the health check when a breaker opens, the replay when it closes.

import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda'
import { type AwsTarget, awsCall, awsClientSettings } from './aws-client.ts'

export interface FunctionInvoker {
  /** Resolves once Lambda has queued the event; the function has then not run yet. Throws when it could not be queued. */
  invokeLater(functionName: string, event: unknown): Promise<void>
}

export function lambdaInvoker(options: { aws?: AwsTarget } = {}): FunctionInvoker {
  const client = new LambdaClient(awsClientSettings(options.aws))
  return {
    async invokeLater(functionName, event) {
      await awsCall(`invoking function ${functionName}`, (call) =>
        client.send(new InvokeCommand({ FunctionName: functionName, InvocationType: 'Event', Payload: JSON.stringify(event) }), call),
      )
    },
  }
}
