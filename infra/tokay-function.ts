// Every function of the stack is made here, so every default stands here once, with its reason.

import path from 'node:path'
import { Duration, RemovalPolicy } from 'aws-cdk-lib'
import { type IGrantable, Grant, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { Architecture, LoggingFormat, Runtime } from 'aws-cdk-lib/aws-lambda'
import { SqsDestination } from 'aws-cdk-lib/aws-lambda-destinations'
import { NodejsFunction, OutputFormat } from 'aws-cdk-lib/aws-lambda-nodejs'
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs'
import type { IQueue } from 'aws-cdk-lib/aws-sqs'
import { Construct } from 'constructs'

const root = path.join(import.meta.dirname, '..')

export const bundling = {
  format: OutputFormat.ESM,
  target: 'node24',
  // The runtime's SDK changes without a deploy; ours is in the lockfile.
  bundleAwsSDK: true,
  mainFields: ['module', 'main'],
  // Half the size, which is half the download of a cold start. Names stay, so that a stack trace can be read.
  minify: true,
  keepNames: true,
  // pg is CommonJS and requires node's modules. The alias matters: a library of the migrations imports createRequire by its own name.
  banner: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
}

export type TokayFunctionProps = {
  /** Physical name: what an operator types into `aws lambda invoke`, and the log group's. */
  readonly functionName: string
  /** File in `functions/`. */
  readonly entry: string
  readonly description: string
  readonly timeout: Duration
  readonly environment: Readonly<Record<string, string>>
  /** Takes events that were never run, or failed for good. */
  readonly lostEvents: IQueue
  /** For what must run in the end, such as a migration; a tick must not: the next one is due already. */
  readonly retries?: { readonly attempts: number; readonly maxEventAge: Duration }
  /** Puts `shared/db/migrations` beside the bundle. */
  readonly withMigrations?: boolean
}

export class TokayFunction extends Construct {
  readonly fn: NodejsFunction

  constructor(scope: Construct, id: string, props: TokayFunctionProps) {
    super(scope, id)
    const { attempts, maxEventAge } = props.retries ?? { attempts: 0, maxEventAge: Duration.seconds(60) }
    const asynchronous = { retryAttempts: attempts, maxEventAge, onFailure: new SqsDestination(props.lostEvents) }
    // A group of our own: the one that Lambda makes by itself never expires and survives `cdk destroy`.
    const logGroup = new LogGroup(this, 'Logs', {
      logGroupName: `/aws/lambda/${props.functionName}`,
      retention: RetentionDays.TWO_WEEKS,
      removalPolicy: RemovalPolicy.DESTROY,
    })
    // A role of our own: the managed basic role may write to every log group of the account.
    const role = new Role(this, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') })
    logGroup.grantWrite(role)

    this.fn = new NodejsFunction(this, 'Function', {
      functionName: props.functionName,
      description: props.description,
      entry: path.join(root, 'functions', props.entry),
      projectRoot: root,
      depsLockFilePath: path.join(root, 'package-lock.json'),
      role,
      logGroup,
      // An object that is logged nests as it is; text would have to be parsed back.
      loggingFormat: LoggingFormat.JSON,
      // The runtime that the tests run on. `NODEJS_LATEST` would change under a deployed stack.
      runtime: Runtime.NODEJS_24_X,
      // A fifth cheaper than x86, and nothing here is native.
      architecture: Architecture.ARM_64,
      // CPU comes with memory. 256 MB start in about 0.3 s and hold the largest batch many times over; 128 MB start twice as slowly for the same price.
      memorySize: 256,
      timeout: props.timeout,
      environment: props.environment,
      // Lambda's own defaults, two more tries within six hours, would run an old tick over newer ones.
      ...asynchronous,
      // The deploy-time trigger invokes a version, and a version has its own rules for asynchronous events.
      currentVersionOptions: { ...asynchronous, removalPolicy: RemovalPolicy.DESTROY },
      bundling: {
        ...bundling,
        ...(props.withMigrations && { commandHooks: copyMigrations }),
      },
    })
  }

  /** Exactly these actions on exactly this resource. The constructs' own `grant*` methods add what we don't use. */
  allow(actions: readonly string[], resourceArn: string): void {
    allow(this.fn, actions, resourceArn)
  }
}

export function allow(grantee: IGrantable, actions: readonly string[], resourceArn: string): void {
  Grant.addToPrincipal({ grantee, actions: [...actions], resourceArns: [resourceArn] }).assertSuccess()
}

const copyMigrations = {
  beforeBundling: () => [],
  beforeInstall: () => [],
  afterBundling: (input: string, output: string) => [`cp -r "${input}/shared/db/migrations" "${output}/migrations"`],
}
