// How long a function's process takes from its start to its first question for an event: runtime, bundle, everything at the top of its modules.

import path from 'node:path'
import { bundle, functionNames, type Bundles, type FunctionName } from './bundles.ts'
import { createLocalFunction } from './local-lambda.ts'

/** Beside the functions: an empty handler that has loaded pg. */
export const reference = 'empty handler with pg'

export type ColdStarts = Readonly<Record<FunctionName | typeof reference, readonly number[]>>

/** Milliseconds by name, a figure a round. In each round every function starts once, one after the other, so that all meet the same machine. */
export async function measureColdStarts(bundles: Bundles, rounds: number): Promise<ColdStarts> {
  const { file } = await bundle(path.join(import.meta.dirname, 'pg-handler.ts'), bundles.folder)
  const names = [reference, ...functionNames] as const
  const figures = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<(typeof names)[number], number[]>
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const fn = createLocalFunction({ runtime: bundles.runtime.file, bundle: name === reference ? file : bundles[name].file })
      const { initMs } = await fn.invoke()
      await fn.kill()
      if (initMs !== undefined) figures[name].push(initMs)
    }
  }
  return figures
}
