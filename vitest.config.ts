import { defineConfig } from 'vitest/config';

/**
 * Brokers of tests live for seconds. Without the second compiler a start costs half the processor
 * time, and the code would not pay for what that one compiles.
 */
const BRIEF_JAVA = { JAVA_TOOL_OPTIONS: '-XX:TieredStopAtLevel=1' };

/** One line per kind of test; the folder or the file name decides the kind. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{schemas,infra/local}/src/**/*.test.ts', 'services/*/src/**/*.test.ts'],
          exclude: ['**/*.integration.test.ts'],
          // Far above what any takes alone: two cores may be busy with something else.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'contract',
          include: ['test/src/contract/**/*.test.ts'],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: [
            'services/*/src/**/*.integration.test.ts',
            'infra/local/src/**/*.integration.test.ts',
          ],
          globalSetup: ['test/src/support/global-setup.ts'],
          env: BRIEF_JAVA,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/src/{e2e,chaos}/**/*.test.ts'],
          env: BRIEF_JAVA,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
