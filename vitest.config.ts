import { defineConfig } from 'vitest/config'

const report = process.env['MILLPOND_TEST_REPORT']

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/e2e/**'],
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // A file for whoever counts: .ci/run.
    ...(report && { reporters: ['default', 'json'], outputFile: { json: report } }),
  },
})
