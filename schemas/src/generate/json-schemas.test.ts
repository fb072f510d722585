import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { jsonSchemaFiles } from './json-schemas.js';

const folder = new URL('../../json/', import.meta.url);

it('the committed JSON Schema files are what the zod schemas generate', () => {
  const files = jsonSchemaFiles();
  expect(readdirSync(folder).toSorted()).toEqual([...files.keys()].toSorted());
  for (const [name, text] of files) {
    expect(
      readFileSync(new URL(name, folder), 'utf8'),
      `${name}: npm run generate -w schemas`,
    ).toBe(text);
  }
});
