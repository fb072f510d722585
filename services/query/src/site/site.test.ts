import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@sockscope/runtime';
import { fastify } from 'fastify';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PAGES, serveSite } from './site.js';

const folder = mkdtempSync(join(tmpdir(), 'sockscope-site-'));
const logger = createLogger('test', { level: 'silent' });

beforeAll(async () => {
  await mkdir(join(folder, 'assets'));
  writeFileSync(join(folder, 'index.html'), '<!doctype html><title>Sockscope</title>');
  writeFileSync(join(folder, 'assets', 'index-abc.js'), 'export {};');
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

async function served() {
  const app = fastify();
  await serveSite(app, { folder, logger });
  return app;
}

test('every page of the dashboard gets the same document, with a strict policy and no caching', async () => {
  const app = await served();
  for (const path of ['/', ...PAGES.map((page) => `/${page}`), '/entity/user/a%2Fb']) {
    const answer = await app.inject(path);
    expect(answer.statusCode, path).toBe(200);
    expect(answer.headers['cache-control']).toBe('no-cache');
    expect(answer.headers['content-security-policy']).toContain("default-src 'none'");
    expect(answer.headers['content-security-policy']).not.toContain('unsafe');
  }
});

test('an asset is cached permanently, and an unknown path is not found', async () => {
  const app = await served();
  const asset = await app.inject('/assets/index-abc.js');
  expect(asset.statusCode).toBe(200);
  expect(asset.headers['cache-control']).toContain('immutable');
  expect((await app.inject('/nosuch')).statusCode).toBe(404);
  // Kept for a year, it would name assets that are gone.
  expect((await app.inject('/index.html')).statusCode).toBe(404);
  expect((await app.inject('/assets/../../../package.json')).statusCode).toBe(404);
});

test('without a built dashboard the root leads to the documentation of the API', async () => {
  const app = fastify();
  await serveSite(app, { folder: join(folder, 'missing'), logger });
  expect((await app.inject('/')).headers.location).toBe('/docs');
});
