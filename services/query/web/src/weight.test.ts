import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';

/** The files of the build. */
const ASSETS = fileURLToPath(new URL('../dist/site/assets/', import.meta.url));
const KIB = 1_024;
const FIRST_VIEW_MAX = 80 * KIB;
const ALL_MAX = 120 * KIB;

const scripts = readdirSync(ASSETS).filter((name) => name.endsWith('.js'));
const textOf = (name: string) => readFileSync(ASSETS + name, 'utf8');
const weightOf = (names: Iterable<string>) =>
  [...names].reduce((sum, name) => sum + gzipSync(textOf(name)).length, 0);

/** A chunk and all that it imports before it runs. */
function withImports(name: string, found = new Set<string>()): Set<string> {
  if (found.has(name)) return found;
  found.add(name);
  for (const [, imported = ''] of textOf(name).matchAll(
    /(?:from|import)\s*["']\.\/([\w-]+\.js)["']/g,
  )) {
    withImports(imported, found);
  }
  return found;
}

const chunk = (page: string) => scripts.find((name) => name.startsWith(`${page}-`)) ?? '';

describe('the weight of the dashboard, gzipped', () => {
  test('the first view loads at most 80 KiB of script, and no other language', () => {
    const loaded = new Set([...withImports(chunk('index')), ...withImports(chunk('overview'))]);
    expect(loaded).not.toContain(chunk('pl'));
    expect(weightOf(loaded)).toBeGreaterThan(30 * KIB);
    expect(weightOf(loaded)).toBeLessThanOrEqual(FIRST_VIEW_MAX);
  });

  test('all scripts together are at most 120 KiB', () => {
    expect(weightOf(scripts)).toBeLessThanOrEqual(ALL_MAX);
  });
});
