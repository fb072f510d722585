import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { ROOT } from './repository.js';

/** The compiled file, because a package offers only what others may import. */
const GENERATOR = 'schemas/dist/generate/generated-files.js';

async function generatedFiles(): Promise<Map<string, string>> {
  const { generatedFiles: generate } = (await import(
    pathToFileURL(join(ROOT, GENERATOR)).href
  )) as { generatedFiles: () => Map<string, string> };
  return generate();
}

test('every generated file is what the table of fields generates (else: npm run generate)', async () => {
  for (const [path, text] of await generatedFiles()) {
    expect(readFileSync(join(ROOT, path), 'utf8'), path).toBe(text);
  }
});

test('schemas/json holds no file that is not generated', async () => {
  const names = [...(await generatedFiles()).keys()]
    .filter((path) => path.startsWith('schemas/json/'))
    .map((path) => basename(path));
  expect(readdirSync(join(ROOT, 'schemas/json')).toSorted()).toEqual(names.toSorted());
});
