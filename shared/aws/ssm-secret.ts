// A secret that lives in SSM as a SecureString, such as the database's URL. Read when first needed, then kept: most runs of a warm function read nothing.

import { GetParameterCommand, ParameterNotFound, SSMClient } from '@aws-sdk/client-ssm'
import { ConfigError } from '../errors.ts'
import { type AwsTarget, awsCall, awsClientSettings } from './aws-client.ts'

export interface Secret {
  /** Never logged, never part of an error. A failed read is not kept: the next one asks again. */
  read(): Promise<string>
  /** The next read asks SSM again: after the database has refused the password (28P01), which is how a rotation shows. */
  forget(): void
}

export function ssmSecret(options: { name: string; aws?: AwsTarget }): Secret {
  const client = new SSMClient(awsClientSettings(options.aws))
  let reading: Promise<string> | undefined

  async function fromSsm(): Promise<string> {
    const answer = await awsCall(`reading SSM parameter ${options.name}`, (call) =>
      client.send(new GetParameterCommand({ Name: options.name, WithDecryption: true }), call),
    ).catch((error: Error) => {
      throw error.cause instanceof ParameterNotFound ? new ConfigError([howToStore(options.name)], { cause: error.cause }) : error
    })
    const value = answer.Parameter?.Value
    if (!value) throw new ConfigError([howToStore(options.name)])
    return value
  }

  return {
    read() {
      reading ??= fromSsm().catch((error: unknown) => {
        reading = undefined
        throw error
      })
      return reading
    },
    forget() {
      reading = undefined
    },
  }
}

const howToStore = (name: string) =>
  `SSM parameter ${name} does not exist or is empty; store it with: aws ssm put-parameter --type SecureString --name ${name} --value '<the value>'`
