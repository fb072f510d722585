import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { clearIntake, IntakeReader, IntakeWriter, leftChunks } from './intake.js';
import { SpoolError } from './log.js';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-intake-'));
  dirs.push(dir);
  return dir;
}

function take(reader: IntakeReader, upTo: number): string[] {
  const got: string[] = [];
  reader.take(upTo, (chunks) => got.push(...chunks.map(String)));
  return got;
}

describe('the intake', () => {
  it('hands every chunk over once, in order, whenever the reader looks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat(100), fc.nat(60_000), fc.constant(-1)), { maxLength: 80 }),
        (steps) => {
          const dir = tempDir();
          const writer = new IntakeWriter(dir);
          const reader = new IntakeReader(dir);
          const written: string[] = [];
          const got: string[] = [];
          for (const [i, size] of steps.entries()) {
            if (size < 0) {
              got.push(...take(reader, writer.position));
              expect(got).toEqual(written);
              continue;
            }
            const chunk = `${i} ${'x'.repeat(size)}`;
            writer.write(Buffer.from(chunk));
            written.push(chunk);
          }
          got.push(...take(reader, writer.position));
          expect(got).toEqual(written);
          writer.close();
          reader.close();
          rmSync(dir, { recursive: true });
        },
      ),
      { numRuns: 60 },
    );
  });

  it('deletes files that were taken, so that its size is bounded by what is not', () => {
    const dir = tempDir();
    const writer = new IntakeWriter(dir);
    const reader = new IntakeReader(dir);
    const chunk = Buffer.alloc(50_000, 'y');
    for (let i = 0; i < 200; i += 1) {
      writer.write(chunk);
      if (i % 20 === 19) {
        take(reader, writer.position);
        expect(readdirSync(dir).length).toBeLessThanOrEqual(2);
      }
    }
  });

  it('that was left by a dead process gives all of its whole chunks, wherever it was cut', () => {
    const dir = tempDir();
    const writer = new IntakeWriter(dir);
    const chunks = Array.from({ length: 30 }, (_, i) => `${i} ${'z'.repeat(i * 3_000)}`);
    const ends: number[] = [];
    for (const chunk of chunks) {
      writer.write(Buffer.from(chunk));
      ends.push(writer.position);
    }
    expect([...leftChunks(dir)].map(String)).toEqual(chunks);
    const files = readdirSync(dir).toSorted();
    const last = join(dir, files.at(-1) ?? '');
    const lastStart = Number(/\d+/.exec(files.at(-1) ?? '')?.[0]);
    const size = readFileSync(last).length;
    for (let cut = size; cut >= 0; cut -= 4_999) {
      truncateSync(last, cut);
      const whole = ends.filter((end) => end <= lastStart + cut).length;
      expect([...leftChunks(dir)].map(String)).toEqual(chunks.slice(0, whole));
    }
    clearIntake(dir);
    expect(readdirSync(dir)).toEqual([]);
  });

  it('says so when the disk does not hold what was written', () => {
    const dir = tempDir();
    const writer = new IntakeWriter(dir);
    writer.write(Buffer.from('hello'));
    writeFileSync(join(dir, readdirSync(dir)[0] ?? ''), 'garbage instead');
    const reader = new IntakeReader(dir);
    expect(() => take(reader, writer.position)).toThrow(SpoolError);
    reader.skip(writer.position);
    writer.write(Buffer.from('what comes later'));
    expect(take(reader, writer.position)).toEqual(['what comes later']);
    expect(() => new IntakeWriter(join(dir, 'missing')).write(Buffer.from('x'))).toThrow(
      SpoolError,
    );
  });
});
