// A schedule that starts a function and gives it the time it was meant to start at: the same tick delivered twice is then the same run.
// A tick that can't be delivered within a minute is dropped into the queue of lost events, never repeated: the next one is due already.

import { Duration, TimeZone } from 'aws-cdk-lib'
import { type IRole, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { ContextAttribute, Schedule, ScheduleExpression, ScheduleTargetInput } from 'aws-cdk-lib/aws-scheduler'
import { LambdaInvoke } from 'aws-cdk-lib/aws-scheduler-targets'
import type { IQueue } from 'aws-cdk-lib/aws-sqs'
import { Construct } from 'constructs'
import { allow, type TokayFunction } from './tokay-function.ts'

export type TickProps = {
  readonly function: TokayFunction
  readonly everyMinutes: number
  /** Spreads functions that share an API over the interval, so that they don't all start in one second. */
  readonly offsetMinutes?: number
  /** Beside `scheduledAt`. */
  readonly input?: Readonly<Record<string, string>>
  readonly lostEvents: IQueue
  readonly role: TickRole
}

/** One role for all ticks. It may start the functions that have one, and nothing else. */
export class TickRole extends Construct {
  readonly role: Role
  readonly #allowed = new Set<TokayFunction>()

  constructor(scope: Construct, id: string, props: { lostEvents: IQueue }) {
    super(scope, id)
    this.role = new Role(this, 'Role', { assumedBy: new ServicePrincipal('scheduler.amazonaws.com') })
    allow(this.role, ['sqs:SendMessage'], props.lostEvents.queueArn)
  }

  /** Closed against the construct library, which would also allow every version and alias of the function. */
  for(target: TokayFunction): IRole {
    if (!this.#allowed.has(target)) allow(this.role, ['lambda:InvokeFunction'], target.fn.functionArn)
    this.#allowed.add(target)
    return this.role.withoutPolicyUpdates()
  }
}

export class Tick extends Construct {
  constructor(scope: Construct, id: string, props: TickProps) {
    super(scope, id)
    new Schedule(this, 'Schedule', {
      schedule: every(props.everyMinutes, props.offsetMinutes ?? 0),
      target: new LambdaInvoke(props.function.fn, {
        role: props.role.for(props.function),
        input: ScheduleTargetInput.fromObject({ ...props.input, scheduledAt: ContextAttribute.scheduledTime }),
        retryAttempts: 0,
        maxEventAge: Duration.seconds(60),
        deadLetterQueue: props.lostEvents,
      }),
    })
  }
}

/** On the clock's own grid where the interval divides an hour or a day; else counted from the deployment. */
export function every(minutes: number, offset: number): ScheduleExpression {
  const at = offset % minutes
  if (60 % minutes === 0) return cron(`${step(at, minutes, 60)} *`)
  if (minutes % 60 === 0 && 1440 % minutes === 0) return cron(`${at % 60} ${step(Math.floor(at / 60), minutes / 60, 24)}`)
  return ScheduleExpression.rate(Duration.minutes(minutes))
}

const cron = (fields: string) => ScheduleExpression.expression(`cron(${fields} * * ? *)`, TimeZone.ETC_UTC)
const step = (first: number, size: number, whole: number) => (size === whole ? `${first}` : `${first}/${size}`)
