// Every function of the stack is made here, so every default stands here once, with its reason.

import path from 'node:path'
import { ArnFormat, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib'
import { Effect, type IGrantable, Grant, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { Architecture, LoggingFormat, Runtime } from 'aws-cdk-lib/aws-lambda'
import { SqsDestination } from 'aws-cdk-lib/aws-lambda-destinations'
import { NodejsFunction, OutputFormat } from 'aws-cdk-lib/aws-lambda-nodejs'
import { LogGroup } from 'aws-cdk-lib/aws-logs'
import type { IQueue } from 'aws-cdk-lib/aws-sqs'
import { Construct } from 'constructs'
import type { Network } from './network.ts'

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
  // Of the ways to find credentials, Lambda needs one.
  esbuildArgs: { '--alias:@aws-sdk/credential-provider-node': './shared/aws/environment-credentials.ts' },
  // pg is CommonJS and requires node's modules. The alias matters: a library of the migrations imports createRequire by its own name.
  banner: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
}

export type TokayFunctionProps = {
  readonly stackName: string
  /** File in `functions/`. Behind the stack's name it is the physical name: what an operator types into `aws lambda invoke`, and the log group's. */
  readonly name: string
  readonly description: string
  readonly timeout: Duration
  readonly environment: Readonly<Record<string, string>>
  /** Takes events that were never run, or failed for good. */
  readonly lostEvents: IQueue
  /** For what must run in the end, such as a migration; a tick must not: the next one is due already. */
  readonly retries?: { readonly attempts: number; readonly maxEventAge: Duration }
  /** Puts `shared/db/migrations` beside the bundle. */
  readonly withMigrations?: boolean
  readonly logDays: number
  /** Instances at once, taken out of the account's limit. New accounts refuse any, so by default there is no reservation: a run claims its work instead. */
  readonly reservedConcurrency?: number
  readonly network?: Network | undefined
}

export class TokayFunction extends Construct {
  readonly fn: NodejsFunction
  /** Without the stack's name. */
  readonly shortName: string

  constructor(scope: Construct, id: string, props: TokayFunctionProps) {
    super(scope, id)
    this.shortName = props.name
    const functionName = `${props.stackName}-${props.name}`
    const { attempts, maxEventAge } = props.retries ?? { attempts: 0, maxEventAge: Duration.seconds(60) }
    const asynchronous = { retryAttempts: attempts, maxEventAge, onFailure: new SqsDestination(props.lostEvents) }
    // A group of our own: the one that Lambda makes by itself never expires and survives `cdk destroy`.
    const logGroup = new LogGroup(this, 'Logs', {
      logGroupName: `/aws/lambda/${functionName}`,
      retention: props.logDays,
      removalPolicy: RemovalPolicy.DESTROY,
    })
    // A role of our own: the managed basic role may write to every log group of the account.
    const role = new Role(this, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') })
    logGroup.grantWrite(role)
    if (props.network) letLambdaAttach(role, this, functionName)

    this.fn = new NodejsFunction(this, 'Function', {
      functionName,
      description: props.description,
      entry: path.join(root, 'functions', `${props.name}.ts`),
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
      ...(props.reservedConcurrency && { reservedConcurrentExecutions: props.reservedConcurrency }),
      ...(props.network && { vpc: props.network.vpc, securityGroups: [props.network.securityGroup] }),
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

  /** To read a secret in SSM. One under the account's own key for SSM needs no right on that key. */
  allowParameter(name: string): void {
    this.allow(['ssm:GetParameter'], Stack.of(this).formatArn({ service: 'ssm', resource: `parameter${name}` }))
  }
}

export function allow(grantee: IGrantable, actions: readonly string[], resourceArn: string): void {
  Grant.addToPrincipal({ grantee, actions: [...actions], resourceArns: [resourceArn] }).assertSuccess()
}

/**
 * In a VPC Lambda makes network interfaces by the function's role, and some of these actions know no resource. So the second statement takes them away
 * from the function's own code again: AWS's own advice for such roles.
 */
function letLambdaAttach(role: Role, scope: Construct, functionName: string): void {
  const actions = [
    'ec2:CreateNetworkInterface',
    'ec2:DescribeNetworkInterfaces',
    'ec2:DescribeSubnets',
    'ec2:DeleteNetworkInterface',
    'ec2:AssignPrivateIpAddresses',
    'ec2:UnassignPrivateIpAddresses',
  ]
  const itself = Stack.of(scope).formatArn({
    service: 'lambda',
    resource: 'function',
    resourceName: functionName,
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  })
  role.addToPolicy(new PolicyStatement({ actions, resources: ['*'] }))
  role.addToPolicy(
    new PolicyStatement({
      effect: Effect.DENY,
      actions,
      resources: ['*'],
      conditions: { ArnEquals: { 'lambda:SourceFunctionArn': itself } },
    }),
  )
}

const copyMigrations = {
  beforeBundling: () => [],
  beforeInstall: () => [],
  afterBundling: (input: string, output: string) => [`cp -r "${input}/shared/db/migrations" "${output}/migrations"`],
}
