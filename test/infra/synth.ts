// The stack as CloudFormation would get it, without bundling: the template does not depend on the code.

import { App } from 'aws-cdk-lib'
import { Template } from 'aws-cdk-lib/assertions'
import { settingsFromContext } from '../../infra/settings-from-context.ts'
import { TokayStack } from '../../infra/tokay-stack.ts'
import { stageNames } from '../../shared/names.ts'

export type Resource = { Type: string; Properties: Record<string, any> }
export type Synthesised = {
  resources: Readonly<Record<string, Resource>>
  ofType(type: string): [id: string, Resource][]
}

export function synthesise(context: Record<string, unknown> = { alertEmail: 'you@example.com' }): Synthesised {
  const app = new App({ context: { 'aws:cdk:bundling-stacks': [] } })
  const stackSettings = settingsFromContext((key) => context[key])
  const built = new TokayStack(app, stageNames(stackSettings.settings.stage).stack, stackSettings)
  const resources = Template.fromStack(built).toJSON()['Resources'] as Record<string, Resource>
  return { resources, ofType: (type) => Object.entries(resources).filter(([, r]) => r.Type === type) }
}

/** The logical id that a Ref or a Fn::GetAtt points to. */
export function targetOf(value: any): string | undefined {
  return value?.Ref ?? value?.['Fn::GetAtt']?.[0]
}
