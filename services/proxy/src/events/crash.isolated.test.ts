/**
 * Kills a proxy at random steps on its disk, in the middle of writes too, and kills the next one while it recovers.
 * The state at a step is copied, and the copy is recovered as the next process would do it.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { fold } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom } from '@sockscope/schemas/testing';
import { Frame, scanChunks } from './frame.js';
import { recover } from './spool/folder.js';
import { LogReader } from './spool/log.js';
import { Slot } from './spool/table.js';
import { liveSessions } from './testing/live-session.js';
import type { LiveSession } from './testing/live-session.js';
import { fakeKafka, run } from './testing/run-pipeline.js';
import { tempDir } from './testing/temp-dir.js';

interface Write {
  readonly data: Buffer;
  readonly at: number;
}

const disk = vi.hoisted(() => ({
  before: (_path: string, _write?: Write): void => undefined,
  after: (_path: string, _write: Write): void => undefined,
}));

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>();
  return {
    ...real,
    openSync(path: string, flags: string, mode?: number) {
      if (flags === 'w') disk.before(path);
      return real.openSync(path, flags, mode);
    },
    renameSync(from: string, to: string) {
      disk.before(from);
      real.renameSync(from, to);
    },
    unlinkSync(path: string) {
      disk.before(path);
      real.unlinkSync(path);
    },
    writeSync(fd: number, buffer: Uint8Array, offset: number, length: number, at: number) {
      const path = real.readlinkSync(`/proc/self/fd/${fd}`);
      const write = { data: Buffer.from(buffer.subarray(offset, offset + length)), at };
      disk.before(path, write);
      const bytes = real.writeSync(fd, buffer, offset, length, at);
      disk.after(path, write);
      return bytes;
    },
  };
});

const SEED = Number(process.env['SOCKSCOPE_SEED'] ?? Date.now() % 1_000_000);
/** Long enough for files of the log that are published and deleted. */
const LIFE_MS = 8_000;
const KILL_RATE = 0.05;
/** So slow that sessions outlive the file in which they began. */
const STEP_RATE = 0.04;
const SPOOL_MAX_BYTES = 64 * 1024 ** 2;
const NO_STEP = { before: () => undefined, after: () => undefined };

function nameOf({ session_id, seq }: SessionEvent): string {
  return `${session_id}/${seq}`;
}

function isAssumed(event: SessionEvent): boolean {
  return event.type === 'SessionClosed' && event.assumed;
}

function eventsOf(frames: readonly Frame[]): SessionEvent[] {
  return frames.map(({ json }) => JSON.parse(json) as SessionEvent);
}

/** Everything that the next process publishes. */
function recovered(dir: string): SessionEvent[] {
  const { acknowledged, end } = recover(dir, SPOOL_MAX_BYTES);
  const reader = new LogReader(join(dir, 'log'));
  const events: SessionEvent[] = [];
  for (let at = acknowledged; at < end;) {
    const { frames, next } = reader.read(at, end, { maxFrames: 1_000, maxBytes: 1_000_000 });
    events.push(...eventsOf(frames));
    at = next;
  }
  reader.close();
  return events;
}

it.skipIf(process.platform !== 'linux')(
  `a kill at any step loses nothing that was written, and ends each open session once (seed ${SEED})`,
  async () => {
    const random = seededRandom(SEED);
    const dir = fs.realpathSync(tempDir());
    const own = join(dir, 'proxy-1');
    const kafka = fakeKafka();
    const all: LiveSession[] = [];
    /** Events in the log, and bytes of each session that the table had. */
    const written = new Map<string, SessionEvent>();
    const saved = new Map<string, number>();
    const slot = new Slot();
    let kills = 0;
    /** Errors of the checks. Thrown at a step, they would pass for errors of the disk. */
    const failures: unknown[] = [];

    /** Copies the folder as it is if the process dies before or in the middle of this step. */
    function copyAt(path: string, write?: Write): string {
      const copy = join(tempDir(), 'proxy-1');
      fs.cpSync(own, copy, { recursive: true });
      if (write !== undefined) tear(join(copy, path.slice(own.length)), write);
      return copy;
    }

    function tear(path: string, { data, at }: Write): void {
      const fd = fs.openSync(path, 'r+');
      if (random() < 0.7) fs.writeSync(fd, data, 0, Math.floor(random() * data.length), at);
      fs.closeSync(fd);
    }

    function check(copy: string): void {
      const found = recovered(copy);
      const events = [...kafka.published, ...found];
      const real = new Set(events.filter((event) => !isAssumed(event)).map(nameOf));
      expect([...written.keys()].filter((name) => !real.has(name))).toEqual([]);
      const assumed = new Map(found.filter(isAssumed).map((event) => [event.session_id, event]));
      const states = fold(events);
      for (const { id, log } of all) {
        const isBegun = written.has(`${id}/0`);
        const isEnded = written.has(`${id}/${log.at(-1)?.seq ?? 0}`);
        expect([id, assumed.has(id)]).toEqual([id, isBegun && !isEnded]);
        if (!isBegun) continue;
        expect(states.get(id)?.row?.assumed).toBe(!isEnded);
        expect(states.get(id)?.row?.bytes_sent).toBeGreaterThanOrEqual(saved.get(id) ?? 0);
      }
    }

    /** The next process dies too, some steps later. */
    function dieAgain(copy: string): void {
      let steps = Math.floor(random() * 12);
      disk.before = (path, write) => {
        steps -= 1;
        if (steps >= 0) return;
        disk.before = NO_STEP.before;
        if (write !== undefined) tear(path, write);
        throw new Error('killed');
      };
      try {
        recover(copy, SPOOL_MAX_BYTES);
      } catch {
        // Killed.
      }
    }

    const steps = {
      before(path: string, write?: Write): void {
        if (random() > KILL_RATE || !fs.existsSync(join(own, 'log'))) return;
        Object.assign(disk, NO_STEP);
        kills += 1;
        const copy = copyAt(path, write);
        const again = join(tempDir(), 'proxy-1');
        fs.cpSync(copy, again, { recursive: true });
        try {
          check(copy);
          dieAgain(again);
          Object.assign(disk, NO_STEP);
          check(again);
        } catch (error) {
          failures.push(error);
        }
        Object.assign(disk, steps);
      },
      after(path: string, { data }: Write): void {
        if (path.endsWith('.frames')) {
          for (const event of eventsOf(scanChunks(data).frames)) written.set(nameOf(event), event);
        } else if (slot.unseal(data) && slot.started.length > 0) {
          const { session_id } = JSON.parse(new Frame(slot.started).json) as SessionEvent;
          saved.set(session_id, slot.measurement.totals.bytes_sent);
        }
      },
    };

    const { pipeline } = await run(dir, kafka, { spool_max_bytes: SPOOL_MAX_BYTES });
    Object.assign(disk, steps);
    const beganMs = performance.now();
    for (let turn = 0; performance.now() - beganMs < LIFE_MS; turn += 1) {
      all.push(...liveSessions(Math.floor(random() * 3), turn));
      for (const live of all) if (random() < STEP_RATE) live.step(pipeline);
      kafka.state.isAway = turn % 200 > 120;
      if (turn % 10 === 9) {
        for (const live of all) live.look(pipeline);
        pipeline.swept();
      }
      await delay(random() * 10);
    }
    Object.assign(disk, NO_STEP);
    kafka.state.isAway = false;
    expect(failures).toEqual([]);
    expect(kills).toBeGreaterThan(5);
  },
);
