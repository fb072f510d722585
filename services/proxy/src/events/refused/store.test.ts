import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { leaveRefused, refusedFiles, refusedFolder, RefusedStore } from './store.js';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sockscope-refused-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

const event = (key: string) => ({
  refused_at: new Date().toISOString(),
  topic: 't',
  reason: '',
  key,
  value: key.repeat(3_000),
  headers: {},
});
const kept = () => [...refusedFiles(refusedFolder(dir))];
const keysKept = () => kept().map(({ events }) => events.map(({ key }) => key));
const store = (maxBytes: number) =>
  new RefusedStore({ spool_dir: dir, proxy_id: 'p1', refused_max_bytes: maxBytes });

it('a full store of refused events keeps none of a batch that has no room, until some are sent', () => {
  const full = store(20_000);
  expect(full.keep(['a', 'b', 'c'].map(event))).toBeNull();
  expect(full.keep(['d', 'e', 'f', 'g'].map(event))).toContain('PROXY_REFUSED_MAX');
  expect(keysKept()).toEqual([['a', 'b', 'c']]);
  leaveRefused(kept()[0]?.path ?? '', [event('b')]);
  expect(full.keep(['d', 'e', 'f', 'g'].map(event))).toBeNull();
  expect(keysKept()).toEqual([['b'], ['d', 'e', 'f', 'g']]);
});

it('a file of refused events without any is deleted', () => {
  store(20_000).keep([event('a')]);
  leaveRefused(kept()[0]?.path ?? '', []);
  expect(readdirSync(refusedFolder(dir))).toEqual([]);
});

it('a line that holds no event is counted, and does not hide the others of its file', () => {
  store(20_000).keep([event('a')]);
  const { path = '' } = kept()[0] ?? {};
  writeFileSync(path, `nonsense\n${JSON.stringify(event('b'))}\n{}\n`);
  expect(kept()).toMatchObject([{ broken: 2, events: [{ key: 'b' }] }]);
});
