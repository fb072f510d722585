/**
 * schemathesis finds no fault in the API. It comes from PyPI and takes minutes, so it runs only on
 * demand, with SOCKSCOPE_SCHEMATHESIS naming the program:
 *
 *     python3 -m venv .local/fuzz && .local/fuzz/bin/pip install schemathesis==4.32.5
 *     SOCKSCOPE_SCHEMATHESIS=.local/fuzz/bin/schemathesis npx vitest run --project integration schemathesis
 *
 * SOCKSCOPE_SCHEMATHESIS_ARGS adds arguments, such as `--seed 7 --include-path /api/v1/stats`.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import '@sockscope/runtime/testing';
import { describe, expect, inject, it } from 'vitest';
import { createKey } from '../auth/command.js';
import { createTestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import { makeEvents, storeBadly } from '../testing/world.js';

const PROGRAM = process.env['SOCKSCOPE_SCHEMATHESIS'];
const MORE = process.env['SOCKSCOPE_SCHEMATHESIS_ARGS']?.split(' ') ?? [];
const HOOKS = fileURLToPath(new URL('../testing', import.meta.url));
const TIMEOUT_MS = 1_800_000;
const OUTPUT_BYTES_MAX = 100_000_000;

describe.skipIf(PROGRAM === undefined)('schemathesis', () => {
  it(
    'finds nothing in examples, border cases and random requests',
    async () => {
      const database = await createTestDatabase(inject('clickhouseUrl'));
      const nowMs = Date.now();
      const events = makeEvents({ seed: 7, sessions: 40, fromMs: nowMs - 3_600_000, toMs: nowMs });
      await storeBadly(database.clickhouse, events, { seed: 8, batches: 1 });
      const api = await createTestApp(database.clickhouse, {
        now: Date.now,
        settings: { auth: { methods: ['api_keys'] } },
      });
      try {
        const scope = ['admin'];
        const key = await createKey(database.clickhouse, { name: 'fuzz', scope }, nowMs);
        await api.app.listen({ host: '127.0.0.1', port: 0 });
        const { port } = api.app.server.address() as AddressInfo;
        const { code, output } = await run(PROGRAM ?? '', [
          'run',
          `http://127.0.0.1:${port}/openapi.json`,
          '--header',
          `X-API-Key: ${key}`,
          // As a page of its own origin: a write from elsewhere is refused.
          '--header',
          'Sec-Fetch-Site: same-origin',
          '--phases',
          'examples,coverage,fuzzing',
          '--max-examples',
          '25',
          '--request-timeout',
          '10',
          '--continue-on-failure',
          '--no-color',
          // A stream has no end to wait for.
          '--exclude-path',
          '/api/v1/stream',
          '--exclude-path',
          '/api/v1/stream/active',
          // Its own check does not know the rules between parameters; the one of HOOKS does.
          '--exclude-checks',
          'positive_data_acceptance',
          ...MORE,
        ]);
        expect(output).toContain('Summary');
        expect(code, output).toBe(0);
      } finally {
        await api.close();
        await database.drop();
      }
    },
    TIMEOUT_MS,
  );
});

async function run(
  program: string,
  args: readonly string[],
): Promise<{ code: unknown; output: string }> {
  // It keeps its findings in its working directory.
  const cwd = await mkdtemp(join(tmpdir(), 'sockscope-fuzz-'));
  const env = {
    ...process.env,
    PYTHONPATH: HOOKS,
    PYTHONDONTWRITEBYTECODE: '1',
    SCHEMATHESIS_HOOKS: 'schemathesis_hooks',
  };
  try {
    return await new Promise((done) => {
      execFile(
        resolve(program),
        args,
        { cwd, env, maxBuffer: OUTPUT_BYTES_MAX },
        (error, stdout, stderr) => {
          done({ code: error === null ? 0 : error.code, output: `${stdout}${stderr}` });
        },
      );
    });
  } finally {
    await rm(cwd, { recursive: true });
  }
}
