import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { releaseFolder, takeFolder } from './lock.js';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-lock-'));
  dirs.push(dir);
  return dir;
}

describe('the owner of a folder', () => {
  it('is one only, until it lets go', () => {
    const dir = tempDir();
    expect(takeFolder(dir)).toBe(true);
    expect(takeFolder(dir)).toBe(false);
    releaseFolder(dir);
    expect(takeFolder(dir)).toBe(true);
    expect(readdirSync(dir)).toEqual(['owner']);
  });

  it('that lives in another process is respected, and one that died is not', async () => {
    const dir = tempDir();
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    await once(other, 'spawn');
    writeFileSync(join(dir, 'owner'), String(other.pid));
    expect(takeFolder(dir)).toBe(false);
    other.kill('SIGKILL');
    await once(other, 'exit');
    expect(takeFolder(dir)).toBe(true);
  });

  // Elsewhere the system does not tell when a process began.
  it.skipIf(process.platform !== 'linux')(
    'with a number that another process has by now is dead',
    () => {
      const dir = tempDir();
      writeFileSync(join(dir, 'owner'), `${process.ppid} 1`);
      expect(takeFolder(dir)).toBe(true);
    },
  );

  it('with an unreadable mark is dead', () => {
    const dir = tempDir();
    writeFileSync(join(dir, 'owner'), 'nobody knows');
    expect(takeFolder(dir)).toBe(true);
  });
});
