import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { ROOT } from './repository.js';

const REDOCLY = join(ROOT, 'node_modules/@redocly/cli/bin/cli.js');
const DOCUMENT = join(ROOT, 'services/query/client/openapi.json');

test(
  'the OpenAPI document has no problem by the recommended rules of redocly',
  { timeout: 120_000 },
  async () => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [REDOCLY, 'lint', DOCUMENT, '--extends', 'recommended', '--format', 'json'],
      {
        env: {
          PATH: process.env['PATH'],
          HOME: process.env['HOME'],
          // It asks nobody else.
          REDOCLY_TELEMETRY: 'off',
          REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
        },
        maxBuffer: 16_777_216,
      },
    ).catch((error: unknown) => error as { readonly stdout: string });
    const { totals, problems } = JSON.parse(stdout) as {
      readonly totals: { readonly errors: number; readonly warnings: number };
      readonly problems: readonly { readonly ruleId: string; readonly message: string }[];
    };
    expect(problems.map(({ ruleId, message }) => `${ruleId}: ${message}`)).toEqual([]);
    expect(totals).toMatchObject({ errors: 0, warnings: 0 });
  },
);
