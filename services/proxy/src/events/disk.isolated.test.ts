/**
 * Faults of a disk: it is full, and it forgets unsynced writes when the power fails.
 * The calls of node:fs are the real ones; beside them the test notes synced writes, and refuses writes
 * that need room while the disk is to be full.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { fold } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { partsOf } from './event-parts.js';
import { FrameWriter } from './frame.js';
import { measurementOf } from './measurement.js';
import { LogWriter } from './spool/log.js';
import { liveSessions } from './testing/live-session.js';
import type { LiveSession } from './testing/live-session.js';
import { fakeKafka, metric, run } from './testing/run-pipeline.js';
import { tempDir } from './testing/temp-dir.js';

const disk = vi.hoisted(() => ({
  isFull: false,
  /** Bytes that it takes nevertheless: of deleted files. */
  room: 0,
  /** How often a folder was listed. */
  listings: 0,
  /** Synced content by file. */
  files: new Map<string, Buffer>(),
  /** Name and file of each synced entry, by path of the folder. */
  folders: new Map<string, Map<string, string>>(),
}));

vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof fs>();
  const fileOf = ({ ino, birthtimeNs }: fs.BigIntStats): string => `${ino}/${birthtimeNs}`;
  const synced = (fd: number): void => {
    const stat = real.fstatSync(fd, { bigint: true });
    if (!stat.isDirectory()) {
      disk.files.set(fileOf(stat), real.readFileSync(`/proc/self/fd/${fd}`));
      return;
    }
    const path = real.readlinkSync(`/proc/self/fd/${fd}`);
    const entries = real
      .readdirSync(path)
      .map((name) => [name, fileOf(real.statSync(join(path, name), { bigint: true }))] as const);
    disk.folders.set(path, new Map(entries));
  };
  return {
    ...real,
    readdirSync: ((...args: Parameters<typeof fs.readdirSync>) => {
      disk.listings += 1;
      return real.readdirSync(...args);
    }) as typeof fs.readdirSync,
    fsyncSync(fd: number) {
      real.fsyncSync(fd);
      synced(fd);
    },
    fdatasyncSync(fd: number) {
      real.fdatasyncSync(fd);
      synced(fd);
    },
    fdatasync(fd: number, done: (error: Error | null) => void) {
      // Bytes that are written meanwhile need not be there.
      synced(fd);
      real.fdatasync(fd, done);
    },
    writeSync(fd: number, buffer: Uint8Array, offset: number, length: number, position: number) {
      const growth = Math.max(0, position + length - real.fstatSync(fd).size);
      if (disk.isFull && growth > disk.room) {
        throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
      }
      if (disk.isFull) disk.room -= growth;
      return real.writeSync(fd, buffer, offset, length, position);
    },
    rmSync(path: string, options: fs.RmOptions) {
      const size = real.statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      if (disk.isFull) disk.room += size;
      real.rmSync(path, options);
    },
  };
});

/** Copies the part of a folder that survives a power loss now. */
function losePower(from: string, to: string): void {
  fs.mkdirSync(to, { recursive: true });
  for (const [name, file] of disk.folders.get(from) ?? []) {
    const path = join(from, name);
    if (disk.folders.has(path)) losePower(path, join(to, name));
    else fs.writeFileSync(join(to, name), disk.files.get(file) ?? '');
  }
}

describe.skipIf(process.platform !== 'linux')('when the power fails', () => {
  it('an end that Kafka acknowledged stays the end, and events older than some seconds are there', async () => {
    const dir = fs.realpathSync(tempDir());
    const kafka = fakeKafka();
    const { pipeline, kill } = await run(dir, kafka);
    const all: LiveSession[] = [];
    const snapshots: {
      dir: string;
      published: number;
      all: { live: LiveSession; said: number }[];
    }[] = [];
    const saidAt: { ms: number; said: Map<LiveSession, number> }[] = [];
    const beganMs = performance.now();
    for (let turn = 0; performance.now() - beganMs < 7_500; turn += 1) {
      if (turn % 4 === 0) all.push(...liveSessions(3, turn));
      for (const live of all) if ((turn + all.indexOf(live)) % 3 === 0) live.step(pipeline);
      pipeline.swept();
      kafka.state.isAway = turn % 40 > 25;
      saidAt.push({
        ms: performance.now(),
        said: new Map(all.map((live) => [live, live.said.length])),
      });
      if (turn % 12 === 11) {
        const lost = join(tempDir(), 'spool');
        losePower(dir, lost);
        snapshots.push({
          dir: lost,
          published: kafka.published.length,
          all: all.map((live) => ({ live, said: live.said.length })),
        });
      }
      await delay(50);
    }
    kill();
    // A busy machine makes fewer turns in the same time.
    expect(snapshots.length).toBeGreaterThan(2);
    expect(fs.existsSync(join(snapshots.at(-1)?.dir ?? '', 'proxy-1', 'log'))).toBe(true);
    for (const snapshot of snapshots) {
      const after = fakeKafka();
      const next = await run(snapshot.dir, after);
      await next.pipeline.stop();
      const before = kafka.published.slice(0, snapshot.published);
      const states = fold([...before, ...after.published]);
      for (const { live } of snapshot.all) {
        const end = before.find(
          (event) => event.session_id === live.id && event.type === 'SessionClosed',
        );
        // Kafka had its real end.
        if (end !== undefined) expect(states.get(live.id)?.row?.close_reason).toBe('client_eof');
      }
      expect(await metric(next.registry, 'sockscope_proxy_events_dropped_total')).toBe(0);
    }
    // Events from that long before the power loss are in Kafka or on disk.
    const SAFE_AFTER_MS = 4_500;
    const last = snapshots.at(-1);
    const lastMs = saidAt.at(-1)?.ms ?? 0;
    const old = saidAt.findLast(({ ms }) => ms < lastMs - SAFE_AFTER_MS);
    const after = fakeKafka();
    const again = join(tempDir(), 'spool');
    fs.cpSync(last?.dir ?? '', again, { recursive: true });
    const next = await run(again, after);
    await next.pipeline.stop();
    const states = fold([...kafka.published.slice(0, last?.published ?? 0), ...after.published]);
    for (const [live, said] of old?.said ?? []) {
      const known = states.get(live.id)?.row;
      const then = live.log[said - 1];
      if (then === undefined) continue;
      expect(known?.seq).toBeGreaterThanOrEqual(then.seq);
      expect(known?.bytes_sent).toBeGreaterThanOrEqual(then.bytes_sent);
    }
  });
});

describe.skipIf(process.platform !== 'linux')(
  'a session that ended just before the power failed',
  () => {
    it('keeps its real end if the next start assumes another end with the same seq', async () => {
      const dir = fs.realpathSync(tempDir());
      const kafka = fakeKafka();
      const { pipeline, kill } = await run(dir, kafka);
      const [live] = liveSessions(1, 6);
      if (live === undefined) throw new Error('no session');
      for (let i = 1; i < live.log.length; i += 1) live.step(pipeline);
      pipeline.swept();
      /** The next process's report about it if the power fails now. */
      const assumedNow = async (): Promise<SessionEvent[]> => {
        const after = fakeKafka();
        const lost = join(tempDir(), 'spool');
        losePower(dir, lost);
        const next = await run(lost, after);
        await next.pipeline.stop();
        return after.published.filter(({ type }) => type === 'SessionClosed');
      };
      await vi.waitFor(async () => {
        expect(await assumedNow()).toHaveLength(1);
      }, 60_000);
      live.step(pipeline);
      await vi.waitFor(() => {
        expect(kafka.published.at(-1)).toEqual(live.log.at(-1));
      }, 60_000);
      const assumed = await assumedNow();
      kill();
      expect(assumed).toMatchObject([{ seq: live.log.at(-1)?.seq, assumed: true }]);
      for (const all of [
        [...kafka.published, ...assumed],
        [...assumed, ...kafka.published],
      ]) {
        expect(fold(all).get(live.id)?.row).toMatchObject({
          close_reason: 'client_eof',
          assumed: false,
        });
      }
    });
  },
);

describe('after an outage of hours with little traffic', () => {
  it('a start and the way to Kafka list the folder of thousands of small files a few times only', async () => {
    const FILES = 1_000;
    const dir = tempDir();
    const log = join(dir, 'proxy-1', 'log');
    const writer = new LogWriter(log, 0, 1);
    const all = liveSessions(FILES, 7).map(({ log: events }) => events);
    for (const events of all) {
      const frames = new FrameWriter();
      for (const event of events) frames.add(partsOf(event));
      writer.append(frames.take());
    }
    writer.leave();
    disk.listings = 0;
    const kafka = fakeKafka();
    const { pipeline } = await run(dir, kafka);
    await pipeline.stop();
    expect(kafka.published).toHaveLength(all.flat().length);
    // With one listing for each file, the files of a day would take more than an hour.
    expect(disk.listings).toBeLessThan(FILES / 10);
  });
});

describe('while the disk is full', () => {
  it('sessions that end before a stop are not closed once more, as crashed, by the next start', async () => {
    const dir = tempDir();
    const kafka = fakeKafka();
    const first = await run(dir, kafka, { flush_timeout_ms: 50 });
    const some = liveSessions(20, 3);
    for (const live of some) for (let i = 0; i < 3; i += 1) live.step(first.pipeline);
    first.pipeline.swept();
    await vi.waitFor(() => {
      expect(kafka.published.length).toBeGreaterThan(20);
    }, 60_000);
    disk.isFull = true;
    kafka.state.isAway = true;
    for (const live of some) while (!live.isEnded) live.step(first.pipeline);
    await first.pipeline.stop();
    expect(await metric(first.registry, 'sockscope_proxy_events_dropped_total')).toBeGreaterThan(0);
    disk.isFull = false;
    kafka.state.isAway = false;
    const second = await run(dir, kafka);
    await second.pipeline.stop();
    expect(await metric(second.registry, 'sockscope_proxy_sessions_crashed_total')).toBe(0);
    expect(
      kafka.published.filter((e) => e.type === 'SessionClosed' && e.close_reason !== 'client_eof'),
    ).toEqual([]);
  });

  it('a killed proxy starts again, however often, and publishes what it had', async () => {
    const dir = tempDir();
    const kafka = fakeKafka();
    kafka.state.isAway = true;
    const first = await run(dir, kafka);
    const some = liveSessions(20, 9);
    for (const live of some) live.step(first.pipeline);
    first.pipeline.swept();
    first.kill();
    disk.isFull = true;
    (await run(dir, kafka)).kill();
    kafka.state.isAway = false;
    const third = await run(dir, kafka);
    await third.pipeline.stop();
    Object.assign(disk, { isFull: false, room: 0 });
    const states = [...fold(kafka.published).values()];
    expect(states.map(({ row }) => row?.close_reason)).toEqual(some.map(() => 'proxy_crashed'));
  });

  it('TrafficDeltas are published too, though the log does not grow', async () => {
    const kafka = fakeKafka();
    const { pipeline } = await run(tempDir(), kafka);
    const [live, other] = liveSessions(2, 8);
    const delta = live?.log.find((event) => event.type === 'TrafficDelta');
    if (live === undefined || other === undefined || delta === undefined) throw new Error('none');
    live.step(pipeline);
    await vi.waitFor(() => {
      expect(kafka.published).toHaveLength(1);
    }, 60_000);
    disk.isFull = true;
    // In traffic, something waits in memory whenever the counters of sessions are read.
    other.step(pipeline);
    pipeline.report(live, measurementOf(delta));
    pipeline.swept();
    await vi.waitFor(() => {
      expect(kafka.published).toContainEqual(delta);
    }, 20_000);
    disk.isFull = false;
    await pipeline.stop();
  });

  it('events wait in memory, are published from there, and are all there', async () => {
    const dir = tempDir();
    const kafka = fakeKafka();
    const { pipeline, registry } = await run(dir, kafka);
    const some = liveSessions(30, 4);
    for (const live of some) live.step(pipeline);
    disk.isFull = true;
    for (const live of some) while (!live.isEnded) live.step(pipeline);
    await vi.waitFor(() => {
      expect(fold(kafka.published).size).toBe(30);
      expect(kafka.published.filter(({ type }) => type === 'SessionClosed')).toHaveLength(30);
    }, 60_000);
    disk.isFull = false;
    const more = liveSessions(5, 5);
    for (const live of more) while (!live.isEnded) live.step(pipeline);
    await pipeline.stop();
    expect(await metric(registry, 'sockscope_proxy_events_dropped_total')).toBe(0);
    expect(fold(kafka.published)).toEqual(fold([...some, ...more].flatMap(({ log }) => log)));
  });
});
