/** Takes an owner's mark while others do the same between any two steps on the disk. */
import type * as fs from 'node:fs';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { takeOwnership } from './ownership.js';

const disk = vi.hoisted(() => ({ beforeStep: (): void => undefined }));

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>();
  const stepped = <A extends unknown[], R>(step: (...args: A) => R) => {
    return (...args: A): R => {
      disk.beforeStep();
      return step(...args);
    };
  };
  return {
    ...real,
    linkSync: stepped(real.linkSync),
    renameSync: stepped(real.renameSync),
    readFileSync: stepped(real.readFileSync),
    rmSync: stepped(real.rmSync),
  };
});

it('a dead owner has one successor, whatever others do between the steps', () => {
  const STEPS = 12;
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-ownership-'));
  for (let first = 0; first < STEPS; first += 1) {
    for (let second = first; second < STEPS; second += 1) {
      const name = `${first}-${second}`;
      const file = join(dir, name);
      writeFileSync(file, 'nobody knows');
      let winners = 0;
      let step = 0;
      const intrude = (): void => {
        const isTurn = step === first || step === second;
        step += 1;
        if (!isTurn) return;
        disk.beforeStep = () => undefined;
        if (takeOwnership(file)) winners += 1;
        disk.beforeStep = intrude;
      };
      disk.beforeStep = intrude;
      if (takeOwnership(file)) winners += 1;
      disk.beforeStep = () => undefined;
      expect([winners, name]).toEqual([1, name]);
      expect(readdirSync(dir).filter((each) => each.startsWith(name))).toEqual([name]);
      rmSync(file);
    }
  }
  rmSync(dir, { recursive: true });
});
