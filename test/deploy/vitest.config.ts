import { defineConfig } from 'vitest/config'
import { emulatorFolder } from './emulator.ts'

/** One file, in order: a stack's life. It needs an AWS emulator, which is no part of the project, so `npm test` does not run it. */
export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/deploy/*.proof.ts'],
    globalSetup: 'folder' in emulatorFolder() ? ['test/support/postgres-setup.ts'] : [],
    reporters: ['verbose', ['json', { outputFile: 'node_modules/.cache/deploy-report.json' }]],
    testTimeout: 300_000,
    bail: 1,
    hookTimeout: 300_000,
  },
})
