import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createBoundedLog } from './bounded-log.js';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sockscope-log-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

describe('bounded log', () => {
  test('a log never takes more than two files of the limit', () => {
    const file = join(dir, 'a.log');
    const log = createBoundedLog(file, 100);
    for (let i = 0; i < 50; i += 1) log.write(Buffer.from(`line ${String(i).padStart(3, '0')}\n`));
    log.close();
    expect(statSync(file).size).toBeLessThanOrEqual(100);
    expect(statSync(`${file}.1`).size).toBeLessThanOrEqual(100);
    expect(readFileSync(file, 'utf8')).toMatch(/line 049\n$/);
  });

  test('the tail has the last lines, the unfinished one included', () => {
    const log = createBoundedLog(null);
    log.write(Buffer.from('a\nb\n\nc'));
    log.write(Buffer.from('d'));
    expect(log.tail(2)).toEqual(['b', 'cd']);
    expect(log.tail(99)).toEqual(['a', 'b', 'cd']);
  });

  test('a character that is cut in two by a chunk arrives whole', () => {
    const log = createBoundedLog(null);
    const bytes = Buffer.from('ä\n');
    log.write(bytes.subarray(0, 1));
    log.write(bytes.subarray(1));
    expect(log.tail(1)).toEqual(['ä']);
  });

  test('a folder that cannot be written does not stop the process that is logged', () => {
    const log = createBoundedLog('/dev/null/not-a-folder/a.log');
    log.write(Buffer.from('still here\n'));
    expect(log.tail(1)).toEqual(['still here']);
  });
});
