import { defineConfig } from 'vitest/config'

/** The long forms, one after the other: about a quarter of an hour. Each test bounds its own time. */
export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/soak/*.soak.ts'],
    fileParallelism: false,
    reporters: ['verbose'],
    testTimeout: 900_000,
    hookTimeout: 60_000,
  },
})
