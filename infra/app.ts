// `npx cdk deploy -c alertEmail=you@example.com`. Needs neither an account nor a network to synthesise.
// Wrong settings end here with one message that lists every problem, instead of a stack trace. What is right says what it will cost.

import { App } from 'aws-cdk-lib'
import { ConfigError } from '../shared/errors.ts'
import { costTable, monthlyCost } from '../shared/monthly-cost.ts'
import { stageNames } from '../shared/names.ts'
import { settingsFromContext } from './settings-from-context.ts'
import { TokayStack } from './tokay-stack.ts'

const app = new App()
try {
  const stackSettings = settingsFromContext(app.node.getAllContext())
  const { settings } = stackSettings
  const { stack } = stageNames(settings.stage)
  new TokayStack(app, stack, stackSettings)
  console.error(costTable(stack, monthlyCost(settings)))
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
