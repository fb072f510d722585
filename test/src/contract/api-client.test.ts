import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { ROOT } from './repository.js';

const CLIENT = join(ROOT, 'services/query/client');
const GENERATOR = join(ROOT, 'infra/client-generator/node_modules/openapi-typescript/bin/cli.js');

async function documentText(): Promise<string> {
  const { openApiDocument } = (await import(
    pathToFileURL(join(ROOT, 'services/query/dist/testing/document.js')).href
  )) as { openApiDocument: () => Promise<object> };
  return `${JSON.stringify(await openApiDocument(), null, 2)}\n`;
}

/** The generator needs a TypeScript of its own, which stands beside it in the client's workspace. */
async function typesOf(document: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'api-client-'));
  try {
    const input = join(folder, 'openapi.json');
    await writeFile(input, document);
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [GENERATOR, input, '--alphabetize'],
      { cwd: CLIENT, maxBuffer: 16_777_216 },
    );
    return stdout;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

test(
  'the client and its OpenAPI document match the routes (else: npm run generate)',
  { timeout: 120_000 },
  async () => {
    const document = await documentText();
    await expect(document).toMatchFileSnapshot(join(CLIENT, 'openapi.json'));
    await expect(await typesOf(document)).toMatchFileSnapshot(
      join(CLIENT, 'src/schema.generated.ts'),
    );
  },
);
