// What Lambda gets: each function as one file, made with the stack's own options and started away from node_modules.

import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundling } from '../../infra/tokay-function.ts'

const root = path.resolve(import.meta.dirname, '../..')
const { banner, minify, keepNames, mainFields, format, target } = bundling
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'tokay-bundles-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function bundle(name: string) {
  const outfile = path.join(folder, name, 'index.mjs')
  const { metafile } = await build({
    entryPoints: [path.join(root, 'functions', `${name}.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    metafile: true,
    logLevel: 'silent',
    minify,
    keepNames,
    mainFields,
    format,
    target,
    banner: { js: banner },
  })
  const [output] = Object.values(metafile.outputs)
  const module = (await import(pathToFileURL(outfile).href)) as { handler: (...parameters: unknown[]) => unknown }
  return { bytes: output?.bytes ?? 0, inputs: Object.keys(output?.inputs ?? {}), handler: module.handler }
}

async function clientsOf(name: string) {
  const { inputs } = await bundle(name)
  return [...new Set(inputs.map((input) => /@aws-sdk\/client-(\w+)/.exec(input)?.[1]).filter((client) => client !== undefined))].toSorted()
}

describe('bundles', () => {
  it.each(['collect', 'replay-parked', 'health-check', 'migrate', 'maintain'])('%s starts by itself and stays below 1 MB', async (name) => {
    const { bytes, handler } = await bundle(name)

    expect(bytes).toBeLessThan(1_000_000)
    expect(handler).toBeTypeOf('function')
    // The runtime refuses a handler with a third parameter: it would be a callback.
    expect(handler.length).toBeLessThanOrEqual(2)
  })

  it('a function carries only the AWS clients that it uses', async () => {
    expect(await clientsOf('collect')).toEqual(['dynamodb', 'lambda', 'sqs', 'ssm'])
    expect(await clientsOf('health-check')).toEqual(['cloudwatch', 'dynamodb', 'sns', 'sqs', 'ssm'])
    expect(await clientsOf('migrate')).toEqual(['ssm'])
  })
})
