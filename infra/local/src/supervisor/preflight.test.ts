import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { pickFreePort } from '../net/ports.js';
import { lockDataDir } from './lock.js';
import { checkFreeSpace, checkListeners, openFilesWarning } from './preflight.js';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sockscope-preflight-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

test('every port that is taken is named at once, with the variable to change', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const free = await pickFreePort();
  try {
    const check = checkListeners([
      { what: 'The proxy', env: 'PROXY_LISTEN', address: { host: '127.0.0.1', port } },
      { what: 'The API', env: 'QUERY_LISTEN', address: { host: '127.0.0.1', port: free } },
      { what: 'Other', env: 'OTHER_LISTEN', address: { host: '127.0.0.1', port: free } },
      { what: 'Away', env: 'AWAY_LISTEN', address: { host: '192.0.2.1', port: free } },
    ]);
    await expect(check).rejects.toMatchObject({ code: 'PORT_TAKEN' });
    await expect(check).rejects.toThrow(
      new RegExp(
        `The proxy cannot listen on 127.0.0.1:${String(port)}: another program uses it.*PROXY_LISTEN[^]*OTHER_LISTEN: .*also the address of The API[^]*no such address.*AWAY_LISTEN`,
      ),
    );
  } finally {
    server.close();
  }
});

test('ports that are free pass', async () => {
  const address = { host: '127.0.0.1', port: await pickFreePort() };
  await expect(checkListeners([{ what: 'x', env: 'X', address }])).resolves.toBeUndefined();
});

test('a disk without room is refused with a remedy', async () => {
  await checkFreeSpace(dir, 1);
  await expect(checkFreeSpace(dir, Number.MAX_SAFE_INTEGER)).rejects.toThrow(/LOCAL_DATA_DIR/);
});

test('a lock of a process that is gone is taken over', async () => {
  // Above the greatest pid that Linux gives out.
  writeFileSync(join(dir, 'owner'), '99999999');
  writeFileSync(join(dir, 'running.json'), JSON.stringify({ pid: 99_999_999, children: [] }));
  const lock = await lockDataDir(dir, () => undefined);
  expect(readFileSync(join(dir, 'running.json'), 'utf8')).toContain(String(process.pid));
  await lock.release();
});

test('a damaged lock does not stop a start', async () => {
  writeFileSync(join(dir, 'running.json'), '{"pid":');
  const lock = await lockDataDir(dir, () => undefined);
  expect(readFileSync(join(dir, 'running.json'), 'utf8')).toContain(String(process.pid));
  await lock.release();
});

test('few open files are a warning with a remedy', () => {
  expect(openFilesWarning(1024)).toMatch(/only 1024 files.*about 512 sessions.*ulimit -n/);
  expect(openFilesWarning(1_048_576)).toBeNull();
  expect(openFilesWarning(null)).toBeNull();
});
