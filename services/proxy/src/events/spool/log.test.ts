import {
  appendFileSync,
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { openSpoolLog, SpoolError } from './log.js';
import type { SpoolLog } from './log.js';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-log-'));
  dirs.push(dir);
  return dir;
}

const ALL = { maxRecords: 1_000_000, maxBytes: 1 << 20 };

function texts(log: SpoolLog): string[] {
  const found: string[] = [];
  for (let at = log.start; at < log.end;) {
    const { payloads, next } = log.read(at, ALL);
    found.push(...payloads.map(String));
    at = next;
  }
  return found;
}

function put(log: SpoolLog, ...records: string[]): void {
  log.append(records.map((text) => Buffer.from(text)));
}

function segments(dir: string): string[] {
  return readdirSync(dir)
    .filter((name) => name.endsWith('.log'))
    .toSorted();
}

const small = { segment_bytes: 64 };

describe('the spool log', () => {
  it('gives back what was appended, in order, after any death of the process', () => {
    const dir = tempDir();
    const first = openSpoolLog({ dir, ...small });
    put(first, 'a', 'b');
    put(first, 'c'.repeat(100));
    // No close: the process died.
    const second = openSpoolLog({ dir, ...small });
    put(second, 'd');
    expect(texts(second)).toEqual(['a', 'b', 'c'.repeat(100), 'd']);
    expect(texts(openSpoolLog({ dir, ...small }))).toEqual(['a', 'b', 'c'.repeat(100), 'd']);
  });

  it('forgets acknowledged records for good once their start was saved, and repeats them otherwise', () => {
    const dir = tempDir();
    const log = openSpoolLog({ dir, segment_bytes: 1_000_000 });
    put(log, 'a', 'b', 'c');
    const { next } = log.read(log.start, { maxRecords: 2, maxBytes: 1_000 });
    log.acknowledge(next);
    expect(texts(log)).toEqual(['c']);
    expect(texts(openSpoolLog({ dir, ...small }))).toEqual(['a', 'b', 'c']);
    log.saveStart();
    expect(texts(openSpoolLog({ dir, ...small }))).toEqual(['c']);
  });

  it('deletes files whose records are all acknowledged', () => {
    const dir = tempDir();
    const log = openSpoolLog({ dir, ...small });
    for (let i = 0; i < 20; i += 1) put(log, `record ${i} ${'x'.repeat(50)}`);
    expect(segments(dir).length).toBeGreaterThan(10);
    log.acknowledge(log.end);
    expect(segments(dir)).toEqual([]);
    expect(log.diskBytes).toBe(0);
    put(log, 'next');
    expect(texts(log)).toEqual(['next']);
    log.acknowledge(log.end);
    log.close();
    expect(segments(dir)).toEqual([]);
  });

  it('never uses a position twice, so that an old saved start cannot hide new records', () => {
    const dir = tempDir();
    const log = openSpoolLog({ dir, ...small });
    put(log, 'a'.repeat(200));
    log.acknowledge(log.end);
    log.close();
    const again = openSpoolLog({ dir, ...small });
    expect(again.start).toBe(208);
    put(again, 'b');
    expect(texts(openSpoolLog({ dir, ...small }))).toEqual(['b']);
  });

  it('cut anywhere, keeps every whole record before the cut and takes new ones', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 12 }),
        fc.nat(),
        (records, cutSeed) => {
          const dir = tempDir();
          const log = openSpoolLog({ dir, segment_bytes: 1_000_000 });
          put(log, ...records);
          const file = join(dir, segments(dir)[0] ?? '');
          const cut = cutSeed % (statSync(file).size + 1);
          truncateSync(file, cut);
          let whole = 0;
          for (let end = 0; whole < records.length; whole += 1) {
            end += 8 + Buffer.byteLength(records[whole] ?? '');
            if (end > cut) break;
          }
          const reopened = openSpoolLog({ dir, segment_bytes: 1_000_000 });
          put(reopened, 'after');
          expect(texts(reopened)).toEqual([...records.slice(0, whole), 'after']);
          expect(texts(openSpoolLog({ dir, segment_bytes: 1_000_000 }))).toEqual([
            ...records.slice(0, whole),
            'after',
          ]);
          rmSync(dir, { recursive: true });
        },
      ),
      { numRuns: 200 },
    );
  });

  it('with any byte of a file broken, gives only records that were appended, and all of other files', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (where, flip) => {
        const dir = tempDir();
        const log = openSpoolLog({ dir, segment_bytes: 100 });
        const records = Array.from({ length: 12 }, (_, i) => `record ${i} ${'y'.repeat(20)}`);
        for (const text of records) put(log, text);
        const names = segments(dir);
        const broken = names[where % names.length] ?? '';
        const file = join(dir, broken);
        const bytes = readFileSync(file);
        const at = where % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ flip;
        writeFileSync(file, bytes);
        const reopened = openSpoolLog({ dir, segment_bytes: 100 });
        const found = texts(reopened);
        expect(records).toEqual(expect.arrayContaining(found));
        expect(found.length).toBeGreaterThanOrEqual(records.length - 3);
        expect(reopened.lostBytes).toBeGreaterThan(0);
        rmSync(dir, { recursive: true });
      }),
      { numRuns: 200 },
    );
  });

  it('skips what breaks while it is open, and counts it', () => {
    const dir = tempDir();
    const log = openSpoolLog({ dir, segment_bytes: 50 });
    put(log, 'a'.repeat(60));
    put(log, 'b'.repeat(60));
    writeFileSync(join(dir, segments(dir)[0] ?? ''), 'garbage'.repeat(20));
    expect(texts(log)).toEqual(['b'.repeat(60)]);
    expect(log.lostBytes).toBe(68);
  });

  it('ignores a start that is garbage', () => {
    const dir = tempDir();
    const log = openSpoolLog({ dir, ...small });
    put(log, 'a');
    writeFileSync(join(dir, 'start'), 'garbage garbage garbage');
    expect(texts(openSpoolLog({ dir, ...small }))).toEqual(['a']);
  });

  it('ignores files that are not its own', () => {
    const dir = tempDir();
    appendFileSync(join(dir, 'notes.log'), 'hello');
    const log = openSpoolLog({ dir, ...small });
    put(log, 'a');
    expect(texts(log)).toEqual(['a']);
  });

  it('says which disk refused', () => {
    const dir = tempDir();
    writeFileSync(join(dir, 'file'), '');
    expect(() => openSpoolLog({ dir: join(dir, 'file'), ...small })).toThrow(SpoolError);
    if (process.getuid?.() === 0) return;
    chmodSync(dir, 0o500);
    expect(() => openSpoolLog({ dir: join(dir, 'sub'), ...small })).toThrow(SpoolError);
  });
});
