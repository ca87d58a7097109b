// Runs a deployed function as the deploy-time trigger of the emulator does: its uploaded zip, its own environment, this Node.
// The emulator itself runs no function but that trigger's.

import { execFile } from 'node:child_process'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Account } from './account.ts'
import type { Emulator } from './emulator.ts'
import type { Template } from './template.ts'

const run = `const [dir, event] = process.argv.slice(1)
const { handler } = await import(dir + '/index.mjs')
console.log('returned ' + JSON.stringify(await handler(JSON.parse(event), { getRemainingTimeInMillis: () => 60_000 })))
process.exit(0)`

/** What the function returned. Rejects with all that it wrote when it throws. */
export async function runDeployed(
  name: string,
  event: object,
  on: { emulator: Emulator; account: Account; template: Template },
): Promise<unknown> {
  const { emulator, account, template } = on
  const deployed = template.ofType('AWS::Lambda::Function').find((fn) => fn.Properties['FunctionName'] === name)
  if (!deployed) throw new Error(`the template has no function ${name}`)
  const folder = await fs.mkdtemp(path.join(emulator.scratch, `${name}-`))
  await fs.writeFile(path.join(folder, 'bundle.zip'), await account.asset(deployed.Properties['Code'].S3Key))
  await promisify(execFile)('python3', ['-m', 'zipfile', '-e', 'bundle.zip', '.'], { cwd: folder })

  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', run, folder, JSON.stringify(event)], {
    env: { ...emulator.environment, ...(await account.environment(name)), AWS_LAMBDA_FUNCTION_NAME: name },
  })
  const [, returned = 'null'] = /^returned (.*)$/m.exec(stdout) ?? []
  return JSON.parse(returned)
}
