import { readFileSync, statfsSync, statSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

/**
 * Brokers of tests live for seconds. Without the second compiler a start takes half the CPU time; code
 * that it compiles does not run long enough to pay for it.
 */
const BRIEF_JAVA = { JAVA_TOOL_OPTIONS: '-XX:TieredStopAtLevel=1' };

/** Twenty times the longest test alone: two slow cores may be busy with something else. */
const UNIT_TIMEOUT_MS = 120_000;

/** Limit of a test or hook with servers. The longest takes a minute alone; two slow cores may be busy with others. */
const SERVERS_TIMEOUT_MS = 600_000;

/** A minute for a condition to come true, as tests give to `vi.waitFor`. */
const PATIENT = { poll: { timeout: 60_000, interval: 50 } };

/** More than all data of a run; see memoryFolder. */
const SCRATCH_BYTES = 4 * 1024 ** 3;

/**
 * Returns a folder in memory for the data of tests, or null if the machine has no room. ClickHouse
 * makes a file per part and the tests delete all of them again, and after thousands of deletions
 * ext4 is slow to find the number of a new file. Tests of rollups take a seventh less CPU time in
 * memory. A file there also outlives the process that wrote it.
 */
function memoryFolder(): string | null {
  try {
    const mounts = readFileSync('/proc/mounts', 'utf8');
    const options = /^\S+ \/dev\/shm tmpfs (\S+)/m.exec(mounts)?.[1]?.split(',') ?? [];
    const { bavail, bsize } = statfsSync('/dev/shm');
    // Some tests write programs and run them.
    const isUsable = options.includes('rw') && !options.includes('noexec');
    return isUsable && bavail * bsize > SCRATCH_BYTES ? '/dev/shm' : null;
  } catch {
    return null;
  }
}

// For the global setup in this process, and for the workers and all that they start.
const scratch = memoryFolder();
if (scratch !== null) process.env['TMPDIR'] ??= scratch;

/**
 * Unit tests that replace a module, count the descriptors of the process or listen to its errors: other
 * files' modules and sockets would disturb them.
 */
const ISOLATED = '**/*.isolated.test.ts';

interface TestFile {
  readonly moduleId: string;
}

/**
 * Files that start whole systems first, and files that kill ingest repeatedly: each of them takes
 * long, and all others should not have to wait for it at the end.
 */
class LongestFirst {
  sort<T extends TestFile>(files: readonly T[]): T[] {
    const rank = ({ moduleId }: TestFile) =>
      /src.(?:attack|chaos|e2e|integration)/.test(moduleId)
        ? 0
        : /exactness/.test(moduleId)
          ? 1
          : 2;
    const bytes = new Map(files.map((file) => [file, statSync(file.moduleId).size]));
    const size = (file: T) => bytes.get(file) ?? 0;
    // oxlint-disable-next-line unicorn/no-array-sort -- without a tsconfig this file has no toSorted
    return [...files].sort((a, b) => rank(a) - rank(b) || size(b) - size(a));
  }

  /** One run has all. */
  shard<T extends TestFile>(files: T[]): T[] {
    return files;
  }
}

/** One line per kind of test; the folder or the file name decides the kind. */
export default defineConfig({
  test: {
    // Else vitest exits before servers have stopped, and their data stays in memory.
    teardownTimeout: 120_000,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '{schemas,infra/local}/src/**/*.test.ts',
            'services/{*,query/web}/src/**/*.test.ts',
          ],
          exclude: ['**/*.integration.test.ts', ISOLATED],
          // Loading the same modules again for each file would take a third of the CPU time.
          isolate: false,
          restoreMocks: true,
          testTimeout: UNIT_TIMEOUT_MS,
          hookTimeout: UNIT_TIMEOUT_MS,
          expect: PATIENT,
        },
      },
      {
        test: {
          name: 'unit-isolated',
          include: [ISOLATED],
          exclude: ['**/node_modules/**', '**/dist/**'],
          testTimeout: UNIT_TIMEOUT_MS,
          hookTimeout: UNIT_TIMEOUT_MS,
          expect: PATIENT,
        },
      },
      {
        test: {
          name: 'contract',
          include: ['test/src/contract/**/*.test.ts'],
          // As for unit tests.
          isolate: false,
          restoreMocks: true,
          testTimeout: UNIT_TIMEOUT_MS,
          hookTimeout: UNIT_TIMEOUT_MS,
        },
      },
      {
        test: {
          name: 'integration',
          include: [
            'services/*/src/**/*.integration.test.ts',
            'infra/local/src/**/*.integration.test.ts',
            'test/src/integration/**/*.test.ts',
          ],
          // As for unit tests: half a second of CPU time for each file.
          isolate: false,
          restoreMocks: true,
          globalSetup: ['test/src/support/global-setup.ts'],
          env: BRIEF_JAVA,
          testTimeout: SERVERS_TIMEOUT_MS,
          hookTimeout: SERVERS_TIMEOUT_MS,
          expect: PATIENT,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/src/{attack,e2e,chaos}/**/*.test.ts'],
          env: BRIEF_JAVA,
          testTimeout: SERVERS_TIMEOUT_MS,
          hookTimeout: SERVERS_TIMEOUT_MS,
          expect: PATIENT,
        },
      },
    ],
  },
});
