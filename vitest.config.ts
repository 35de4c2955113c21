import { defineConfig } from 'vitest/config'

const report = process.env['MILLPOND_TEST_REPORT']

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/e2e/**'],
    pool: 'forks',
    maxWorkers: '100%', // left to itself it leaves a core alone, which of two is half
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // A file for whoever counts: .ci/run.
    ...(report && { reporters: ['default', 'json'], outputFile: { json: report } }),
  },
})
