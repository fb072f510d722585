import {
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SessionEvent } from '@sockscope/schemas';
import { partsOf } from '../event-parts.js';
import { FrameWriter } from '../frame.js';
import type { Frame } from '../frame.js';
import { hostileLogs } from '../testing/hostile-log.js';
import { tempDir } from '../testing/temp-dir.js';
import { SpoolError } from './files.js';
import { endOf, LogReader, LogWriter } from './log.js';

const events: SessionEvent[] = hostileLogs(5, 6).flat().slice(0, 12);
const LIMITS = { maxFrames: 1_000, maxBytes: 1_000 };

function chunk(some: readonly SessionEvent[]): Buffer {
  const writer = new FrameWriter();
  for (const event of some) writer.add(partsOf(event));
  return Buffer.from(writer.take());
}

function nameOf({ session_id, seq }: SessionEvent): string {
  return `${session_id}/${seq}`;
}

function nameOfFrame({ sessionId, seq }: Frame): string {
  return `${sessionId}/${seq}`;
}

/** Everything from a position on. */
function readAllOf(reader: LogReader, from: number, end: number): string[] {
  const names: string[] = [];
  for (let at = from; at < end;) {
    const { frames, next } = reader.read(at, end, LIMITS);
    names.push(...frames.map(nameOfFrame));
    expect(next).toBeGreaterThan(at);
    at = next;
  }
  return names;
}

/** A log with one event in each file. */
function filled(dir: string): LogWriter {
  const writer = new LogWriter(dir, 0, 1);
  for (const event of events) writer.append(chunk([event]));
  writer.leave();
  return writer;
}

describe('the log', () => {
  it('returns appended frames in order, over many files and with any limits', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        (segmentBytes, perChunk, maxFrames) => {
          const dir = tempDir();
          const writer = new LogWriter(dir, 0, segmentBytes);
          for (let i = 0; i < events.length; i += perChunk) {
            writer.append(chunk(events.slice(i, i + perChunk)));
          }
          const reader = new LogReader(dir);
          const names: string[] = [];
          for (let at = 0; at < writer.position;) {
            const { frames, next } = reader.read(at, writer.position, { maxFrames, maxBytes: 1 });
            expect(frames.length).toBeLessThanOrEqual(Math.max(maxFrames, perChunk));
            names.push(...frames.map(nameOfFrame));
            at = next;
          }
          expect(names).toEqual(events.map(nameOf));
          expect(reader.lostBytes).toBe(0);
          reader.close();
          writer.leave();
        },
      ),
      { numRuns: 50 },
    );
  });

  it('returns the frames of many small files at once, and of whole files behind a torn one', () => {
    const dir = tempDir();
    const { position } = filled(dir);
    const reader = new LogReader(dir);
    const wide = { maxFrames: 1_000, maxBytes: 1_000_000 };
    expect(reader.read(0, position, wide).frames.map(nameOfFrame)).toEqual(events.map(nameOf));
    expect(reader.read(0, position, { ...wide, maxFrames: 7 }).frames).toHaveLength(7);
    truncateSync(join(dir, readdirSync(dir).toSorted()[3] ?? ''), 50);
    const again = new LogReader(dir);
    const before = again.read(0, position, wide);
    expect(before.frames.map(nameOfFrame)).toEqual(events.slice(0, 3).map(nameOf));
    const behind = again.read(before.next, position, wide);
    expect(behind.frames.map(nameOfFrame)).toEqual(events.slice(4).map(nameOf));
    expect(behind.next).toBe(position);
    reader.close();
    again.close();
  });

  it('continues behind the files of a dead process, with a last file torn at any byte', () => {
    const [firstChunk, secondChunk] = [chunk(events.slice(0, 1)), chunk(events.slice(1, 2))];
    const whole = Buffer.concat([firstChunk, secondChunk]);
    for (let cut = 0; cut <= whole.length; cut += 1) {
      const dir = tempDir();
      const first = new LogWriter(dir, 0, 1_000_000);
      first.append(whole);
      first.leave();
      truncateSync(join(dir, readdirSync(dir)[0] ?? ''), cut);
      const second = new LogWriter(dir, endOf(dir), 1_000_000);
      second.append(chunk(events.slice(5, 6)));
      second.leave();
      const reader = new LogReader(dir);
      const kept = cut === whole.length ? 2 : cut >= firstChunk.length ? 1 : 0;
      expect(readAllOf(reader, 0, second.position)).toEqual(
        [...events.slice(0, kept), ...events.slice(5, 6)].map(nameOf),
      );
      const keptBytes = kept === 2 ? whole.length : kept * firstChunk.length;
      expect(reader.lostBytes).toBe(cut - keptBytes);
      reader.close();
    }
  });

  it('with any byte of a file broken yields all of the other files, and counts the lost bytes', () => {
    fc.assert(
      fc.property(
        fc.nat(events.length - 1),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (i, where, flip) => {
          const dir = tempDir();
          const { position } = filled(dir);
          const file = join(dir, readdirSync(dir).toSorted()[i] ?? '');
          const bytes = readFileSync(file);
          bytes[where % bytes.length] = (bytes[where % bytes.length] ?? 0) ^ flip;
          writeFileSync(file, bytes);
          const reader = new LogReader(dir);
          expect(readAllOf(reader, 0, position)).toEqual(
            events.filter((_, j) => j !== i).map(nameOf),
          );
          expect(reader.lostBytes).toBe(bytes.length);
          reader.close();
        },
      ),
      { numRuns: 50 },
    );
  });

  it('deletes only files that lie wholly before a position, and the last one only on request', () => {
    const dir = tempDir();
    const { position } = filled(dir);
    const reader = new LogReader(dir);
    const [one, two, three] = events.map((event) => chunk([event]).length) as [
      number,
      number,
      number,
    ];
    const firstTwo = one + two;
    expect(reader.canFree(0)).toBe(false);
    expect(reader.canFree(firstTwo)).toBe(true);
    expect(reader.free(firstTwo + 1)).toBe(firstTwo);
    expect(readAllOf(reader, firstTwo, position)).toEqual(events.slice(2).map(nameOf));
    expect(reader.free(position, 1)).toBe(firstTwo + three);
    reader.free(position);
    expect(readdirSync(dir)).toHaveLength(1);
    reader.end();
    expect(reader.free(position)).toBe(position);
    expect(readdirSync(dir)).toEqual([]);
  });

  it('skips a file that the disk cannot read, and continues with the next one', () => {
    const dir = tempDir();
    const { position } = filled(dir);
    const reader = new LogReader(dir);
    const next = reader.skip(0, position);
    expect(next).toBe(chunk(events.slice(0, 1)).length);
    expect(readAllOf(reader, next, position)).toEqual(events.slice(1).map(nameOf));
    expect(reader.lostBytes).toBe(next);
  });

  it('ignores files that are not its own', () => {
    const dir = tempDir();
    writeFileSync(join(dir, 'notes.frames'), 'hello');
    const { position } = filled(dir);
    expect(readAllOf(new LogReader(dir), 0, position)).toEqual(events.map(nameOf));
  });

  it('does not take a folder that cannot be read for an empty one', () => {
    const dir = join(tempDir(), 'loop');
    // Also holds for root, who may open every folder.
    symlinkSync(dir, dir);
    expect(() => endOf(dir)).toThrow(SpoolError);
    expect(() => new LogReader(dir).read(0, 1_000, LIMITS)).toThrow(SpoolError);
  });

  it('reports that the disk refused, and has taken nothing then', () => {
    const dir = tempDir();
    writeFileSync(join(dir, 'file'), '');
    expect(() => new LogWriter(join(dir, 'file'), 0, 1)).toThrow(SpoolError);
    // Also holds for root, who may open every folder.
    const writer = new LogWriter(join(dir, 'log'), 0, 1_000_000);
    symlinkSync('/dev/full', join(dir, 'log', `${'0'.repeat(16)}.frames`));
    expect(() => {
      writer.append(chunk(events));
    }).toThrow(SpoolError);
    expect(writer.position).toBe(0);
  });

  it('is readable by its owner alone', () => {
    const dir = join(tempDir(), 'log');
    filled(dir);
    expect(statSync(dir).mode & 0o077).toBe(0);
    for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).mode & 0o077).toBe(0);
  });
});
