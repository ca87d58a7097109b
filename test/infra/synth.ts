// The stack as CloudFormation would get it, without bundling: the template does not depend on the code.

import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { App } from 'aws-cdk-lib'
import { Template } from 'aws-cdk-lib/assertions'
import { settingsFromContext } from '../../infra/settings-from-context.ts'
import { TokayStack } from '../../infra/tokay-stack.ts'
import { stageNames } from '../../shared/names.ts'

const root = path.resolve(import.meta.dirname, '../..')

export type Resource = { Type: string; Properties: Record<string, any> }
export type Synthesised = {
  resources: Readonly<Record<string, Resource>>
  ofType(type: string): [id: string, Resource][]
}

/** The same feature flags as `cdk deploy` has, with the user's own settings left out. */
const { tokay: _, ...flags } = (JSON.parse(readFileSync(path.join(root, 'cdk.json'), 'utf8')) as { context: Record<string, unknown> })
  .context

export function buildStack(context: Record<string, unknown>): TokayStack {
  const app = new App({ context: { ...flags, 'aws:cdk:bundling-stacks': [] } })
  const stackSettings = settingsFromContext(context)
  return new TokayStack(app, stageNames(stackSettings.settings.stage).stack, stackSettings)
}

/** The construct library leaves a folder in the temporary one for every synthesis. */
export const forget = (built: TokayStack) => rmSync((built.node.root as App).outdir, { recursive: true, force: true })

export function synthesise(context: Record<string, unknown> = { alertEmail: 'you@example.com' }): Synthesised {
  const built = buildStack(context)
  const resources = Template.fromStack(built).toJSON()['Resources'] as Record<string, Resource>
  forget(built)
  return { resources, ofType: (type) => Object.entries(resources).filter(([, r]) => r.Type === type) }
}

/** The logical id that a Ref or a Fn::GetAtt points to. */
export function targetOf(value: any): string | undefined {
  return value?.Ref ?? value?.['Fn::GetAtt']?.[0]
}
