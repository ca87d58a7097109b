// The tests that mutants of shared/resilience and shared/state are run against: those that need no server, no process and no file.

import { defineConfig } from 'vitest/config'

const tests = [
  'api-budget',
  'backoff',
  'breaker-circuit',
  'breaker-override',
  'breaker-shared',
  'breaker-view',
  'breaker-walk',
  'claim',
  'classify-failure',
  'client-metrics',
  'explain-failure',
  'peer-traps',
  'refusals',
  'resilient-database',
  'retry-policy',
  'slow-calls',
  'sqlstates',
  'update-item',
  'with-resilience',
]

export default defineConfig({
  test: {
    root: new URL('../../..', import.meta.url).pathname,
    include: tests.map((name) => `test/unit/${name}.test.ts`),
  },
})
