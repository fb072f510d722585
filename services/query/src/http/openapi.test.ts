import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { openApiDocument } from '../testing/document.js';

interface Schema {
  readonly $ref?: string;
  readonly examples?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
}
interface Document {
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
  readonly paths: Readonly<
    Record<
      string,
      {
        readonly get?: {
          readonly responses: Readonly<
            Record<string, { readonly content: Readonly<Record<string, { schema: Schema }>> }>
          >;
        };
      }
    >
  >;
}

describe('the OpenAPI document', () => {
  it('has an example of the answer of each route', async () => {
    const document = (await openApiDocument()) as unknown as Document;
    const { schemas } = document.components;
    const resolved = ({ $ref, ...schema }: Schema): Schema =>
      $ref === undefined ? schema : (schemas[$ref.replace('#/components/schemas/', '')] ?? {});
    const lacking = Object.entries(document.paths).flatMap(([path, { get }]) => {
      if (get === undefined) return [];
      const answers = Object.values(get.responses['200']?.content ?? {});
      // If there are several shapes, the first one has it.
      const hasExample = answers.some(({ schema }) =>
        [schema, ...(schema.anyOf ?? [])].some(
          (each) => (resolved(each).examples ?? []).length > 0,
        ),
      );
      return hasExample ? [] : [path];
    });
    expect(Object.keys(document.paths).length).toBeGreaterThanOrEqual(18);
    expect(lacking).toEqual([]);
  });

  it('has refusals that the document cannot express, and the fuzzer knows them by their messages', () => {
    const textOf = (path: string) =>
      readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8');
    const rules =
      /re\.compile\((.*?)\n\)/s.exec(textOf('../testing/schemathesis_hooks.py'))?.[1] ?? '';
    const patterns = [...rules.matchAll(/^ {12}"(.*)",$/gm)].map(([, pattern = '']) => pattern);
    expect(patterns.length).toBeGreaterThan(10);
    const sources = ['..', '../../../../schemas/src/api'].flatMap((folder) => {
      const path = fileURLToPath(new URL(folder, import.meta.url));
      return readdirSync(path, { recursive: true, encoding: 'utf8' })
        .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
        .map((file) => readFileSync(join(path, file), 'utf8'));
    });
    // Each value in a message stands for a number, and each text ends at its quote.
    const texts = sources
      .join('\n')
      .replaceAll(/\$\{.*?\}/g, '1')
      .replaceAll(/['`]/g, '\n');
    const unknown = patterns.filter((pattern) => !new RegExp(pattern, 'm').test(texts));
    expect(unknown).toEqual([]);
  });
});
