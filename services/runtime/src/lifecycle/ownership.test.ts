import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { releaseOwnership, takeOwnership } from './ownership.js';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-ownership-'));
  dirs.push(dir);
  return dir;
}

describe('the owner that a file names', () => {
  it('is one only, until it lets go', () => {
    const dir = tempDir();
    expect(takeOwnership(join(dir, 'owner'))).toBe(true);
    expect(takeOwnership(join(dir, 'owner'))).toBe(false);
    releaseOwnership(join(dir, 'owner'));
    expect(takeOwnership(join(dir, 'owner'))).toBe(true);
    expect(readdirSync(dir)).toEqual(['owner']);
  });

  it('that lives in another process is respected, and one that died is not', async () => {
    const dir = tempDir();
    const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    await once(other, 'spawn');
    writeFileSync(join(dir, 'owner'), String(other.pid));
    expect(takeOwnership(join(dir, 'owner'))).toBe(false);
    other.kill('SIGKILL');
    await once(other, 'exit');
    expect(takeOwnership(join(dir, 'owner'))).toBe(true);
  });

  // Other systems do not report the start time of a process.
  it.skipIf(process.platform !== 'linux')(
    'with a number that another process has by now is dead',
    () => {
      const dir = tempDir();
      writeFileSync(join(dir, 'owner'), `${process.ppid} 1`);
      expect(takeOwnership(join(dir, 'owner'))).toBe(true);
    },
  );

  // After a start of the machine, numbers are in use again soon.
  it.skipIf(process.geteuid === undefined)(
    "with a number that another user's process has is dead, also if its start time is hidden",
    () => {
      const dir = tempDir();
      writeFileSync(join(dir, 'owner'), String(process.ppid));
      vi.spyOn(process, 'kill').mockImplementation(() => {
        throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
      });
      const user = process.geteuid?.() ?? 0;
      const asked = vi.spyOn(process, 'geteuid');
      asked.mockReturnValue(user + 1);
      // It can be the process that wrote the mark.
      expect(takeOwnership(join(dir, 'owner'))).toBe(false);
      asked.mockReturnValue(user);
      expect(takeOwnership(join(dir, 'owner'))).toBe(true);
    },
  );

  it('whose heir died too has a successor at the second attempt', () => {
    const dir = tempDir();
    writeFileSync(join(dir, 'owner'), 'nobody knows');
    writeFileSync(join(dir, 'owner.heir'), 'nobody knows');
    expect([1, 2, 3].map(() => takeOwnership(join(dir, 'owner')))).toEqual([false, true, false]);
    expect(readdirSync(dir)).toEqual(['owner']);
  });

  it('with an unreadable mark is dead', () => {
    const dir = tempDir();
    writeFileSync(join(dir, 'owner'), 'nobody knows');
    expect(takeOwnership(join(dir, 'owner'))).toBe(true);
  });
});
