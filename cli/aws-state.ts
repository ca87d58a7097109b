// A deployed stage's state table, for an operator's word. Region and credentials come from where the AWS tools take them: environment, profile, ~/.aws.

import { createDynamodbStateTable } from '../shared/aws/dynamodb-state-table.ts'
import { ConfigError } from '../shared/errors.ts'
import { stageNames } from '../shared/names.ts'
import type { StateTable } from '../shared/state/state-table.ts'

/** Connects when it is used. Its first failure is a ConfigError where the user's own AWS settings are the reason. */
export function openAwsState(stage: string): StateTable {
  const tableName = stageNames(stage).stateTable
  const table = createDynamodbStateTable({ tableName })
  const explained = async <Answer>(answer: Promise<Answer>): Promise<Answer> => {
    try {
      return await answer
    } catch (error) {
      const why = whatToSet((error as Error).cause, stage, tableName)
      throw why === undefined ? error : new ConfigError([why], { cause: error })
    }
  }
  return {
    list: () => explained(table.list()),
    compareAndSet: (key, expectedVersion, data) => explained(table.compareAndSet(key, expectedVersion, data)),
    close: () => table.close(),
  }
}

function whatToSet(cause: unknown, stage: string, tableName: string): string | undefined {
  const { name, message } = cause instanceof Error ? cause : new Error()
  // empty is not accepted
  if (/^Region (?:is missing|not accepted)/.test(message)) return 'no AWS region is set: set AWS_REGION to the one that the stack is in'
  if (name === 'CredentialsProviderError')
    return 'no AWS credentials were found: set AWS_PROFILE, or log in with `aws sso login`, and try again'
  if (name === 'ResourceNotFoundException')
    return `there is no table ${tableName}: stage "${stage}" is not deployed in this AWS account and region (AWS_PROFILE, AWS_REGION)`
  return undefined
}
