import { defineConfig } from 'vitest/config'

const report = process.env['MILLPOND_TEST_REPORT']

/** Real engines on real folders: one file at a time, each with its own upstream and its own Millpond. */
export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // A file for whoever counts: .ci/run.
    ...(report && { reporters: ['default', 'json'], outputFile: { json: report } }),
  },
})
