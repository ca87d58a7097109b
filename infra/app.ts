// `npx cdk deploy -c alertEmail=you@example.com`. Needs neither an account nor a network to synthesise.
// Wrong settings end here with one message that lists every problem, instead of a stack trace.

import { App } from 'aws-cdk-lib'
import { ConfigError } from '../shared/errors.ts'
import { settingsFromContext } from './settings-from-context.ts'
import { TokayStack } from './tokay-stack.ts'
import { stageNames } from '../shared/names.ts'

const app = new App()
try {
  const { settings, input } = settingsFromContext((key) => app.node.tryGetContext(key))
  new TokayStack(app, stageNames(settings.stage).stack, { settings, input })
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
