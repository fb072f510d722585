import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readText, repositoryFiles, ROOT } from './repository.js';

/** Our packages that a folder's code may import. The direction is services → runtime → schemas. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  schemas: [],
  'services/runtime': ['@sockscope/schemas'],
  'services/proxy': ['@sockscope/runtime', '@sockscope/schemas'],
  'services/ingest': ['@sockscope/runtime', '@sockscope/schemas'],
  // The dashboard takes the API's types from the generated client.
  'services/query': ['@sockscope/client', '@sockscope/runtime', '@sockscope/schemas'],
  'infra/local': ['@sockscope/runtime', '@sockscope/schemas'],
};
/** Clients that stand behind one narrow module each. */
const ONE_DOOR: Readonly<Record<string, string>> = {
  kafkajs: 'services/runtime/src/kafka/',
  '@clickhouse/client': 'services/runtime/src/clickhouse/',
};

interface Import {
  readonly file: string;
  readonly specifier: string;
}

function importsOf(file: string): Import[] {
  const text = readText(file);
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^'";]*?from\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\b(?:import|require)\(\s*['"]([^'"]+)['"]\s*\)/g,
  );
  return [...found].map((match) => ({ file, specifier: match[1] ?? match[2] ?? match[3] ?? '' }));
}

/** Test code may reach for the real clients and for the local servers. */
function isTestCode(file: string): boolean {
  return /\.test\.tsx?$/.test(file) || file.includes('/testing/');
}

const sources = repositoryFiles('*.ts', '*.tsx', '*.mjs')
  .filter((file) => existsSync(join(ROOT, file)) && !file.endsWith('.d.ts'))
  .filter((file) => Object.keys(ALLOWED).some((folder) => file.startsWith(`${folder}/`)));
const production = sources.filter((file) => !isTestCode(file)).flatMap(importsOf);

describe('dependencies', () => {
  test('there is code to look at', () => {
    expect(production.length).toBeGreaterThan(100);
  });

  test.each(Object.entries(ALLOWED))('%s imports only our packages below it', (folder, allowed) => {
    const wrong = production.filter(
      ({ file, specifier }) =>
        file.startsWith(`${folder}/`) &&
        specifier.startsWith('@sockscope/') &&
        !allowed.some((name) => specifier === name || specifier.startsWith(`${name}/`)),
    );
    expect(wrong).toEqual([]);
  });

  test('no relative import leaves its own package', () => {
    const wrong = sources.flatMap(importsOf).filter(({ file, specifier }) => {
      if (!specifier.startsWith('.')) return false;
      const home = Object.keys(ALLOWED).find((folder) => file.startsWith(`${folder}/`)) ?? '';
      return !join(file, '..', specifier).startsWith(`${home}/`);
    });
    expect(wrong).toEqual([]);
  });

  test.each(Object.entries(ONE_DOOR))('%s is imported in one folder alone', (client, door) => {
    const importers = production
      .filter(({ specifier }) => specifier === client || specifier.startsWith(`${client}/`))
      .map(({ file }) => file);
    expect(importers.filter((file) => !file.startsWith(door))).toEqual([]);
    expect(importers).not.toEqual([]);
  });
});
