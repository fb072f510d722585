import { describe, expect, it } from 'vitest';
import { createProgress } from './progress.js';

function recorder(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, written, write: (text: string) => written.push(text) };
}

describe('progress', () => {
  it('draws a bar on a terminal and ends its line', () => {
    const out = recorder(true);
    let nowMs = 0;
    const progress = createProgress(out, () => nowMs);
    progress.show(1, 2, 'records read');
    nowMs = 50;
    progress.show(1, 2, 'records read');
    progress.show(2, 2, 'records read');
    progress.end();
    progress.end();
    expect(out.written).toEqual([
      `\r[${'#'.repeat(15)}${'.'.repeat(15)}] 50 % records read\u001b[K`,
      `\r[${'#'.repeat(30)}] 100 % records read\u001b[K`,
      '\n',
    ]);
  });

  it('writes a line periodically if there is no terminal', () => {
    const out = recorder(false);
    let nowMs = 0;
    const progress = createProgress(out, () => nowMs);
    for (; nowMs <= 6_000; nowMs += 1_000) progress.show(nowMs / 1_000, 100, 'hours folded');
    progress.show(0, 1, 'tables exchanged');
    progress.end();
    expect(out.written).toEqual([
      '0 of 100 hours folded\n',
      '5 of 100 hours folded\n',
      '0 of 1 tables exchanged\n',
    ]);
  });
});
