// The functions as Lambda gets them: one file each, made with the stack's own options, away from node_modules.

import { cp, mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { build } from 'esbuild'
import { bundling } from '../../infra/tokay-function.ts'

export const functionNames = ['collect', 'replay-parked', 'health-check', 'migrate', 'maintain'] as const
export type FunctionName = (typeof functionNames)[number]

export type Bundle = {
  readonly file: string
  readonly bytes: number
  /** Paths of what went into it, from the project's root. */
  readonly inputs: readonly string[]
}

const root = path.resolve(import.meta.dirname, '../..')

/** What the stack asks of the bundler, as its own API takes it. What it doesn't know is a type error here. */
const { banner, bundleAwsSDK: _noExternals, esbuildArgs, ...asked } = bundling
const alias = Object.fromEntries(Object.entries(esbuildArgs).map(([flag, target]) => [flag.replace(/^--alias:/, ''), target]))
const options = { ...asked, banner: { js: banner }, alias }

/** `entry` is a .ts or .mjs file. */
export async function bundle(entry: string, folder: string): Promise<Bundle> {
  const file = path.join(folder, path.parse(entry).name, 'index.mjs')
  const { metafile } = await build({
    ...options,
    entryPoints: [entry],
    outfile: file,
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    metafile: true,
    logLevel: 'silent',
  })
  const [output] = Object.values(metafile.outputs)
  return { file, bytes: output?.bytes ?? 0, inputs: Object.keys(output?.inputs ?? {}) }
}

export type Bundles = Readonly<Record<FunctionName, Bundle>> & {
  readonly runtime: Bundle
  readonly folder: string
  remove(): Promise<void>
}

/** All functions and the local Lambda's runtime, in a folder of their own. */
export async function bundleAll(): Promise<Bundles> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'tokay-bundles-'))
  const entries = functionNames.map(async (name) => [name, await bundle(path.join(root, 'functions', `${name}.ts`), folder)] as const)
  const runtime = await bundle(path.join(root, 'test/support/lambda-runtime.ts'), folder)
  const functions = Object.fromEntries(await Promise.all(entries)) as Record<FunctionName, Bundle>
  for (const name of ['migrate', 'maintain'] as const) {
    await cp(path.join(root, 'shared/db/migrations'), path.join(path.dirname(functions[name].file), 'migrations'), { recursive: true })
  }
  return { ...functions, runtime, folder, remove: () => rm(folder, { recursive: true, force: true }) }
}
