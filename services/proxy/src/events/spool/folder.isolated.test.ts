/** Longer than 400 lines: all tests open folders of the same make, with the clocks and the full disks of this file. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { fold, sessionEvent } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { partsOf } from '../event-parts.js';
import { FrameWriter } from '../frame.js';
import type { Frame } from '../frame.js';
import { measurementOf } from '../measurement.js';
import type { Measurement } from '../measurement.js';
import { NO_PLACE } from '../sink.js';
import { tempDir } from '../testing/temp-dir.js';
import { publishDeadFolders } from './dead-folders.js';
import type { DeadFolders } from './dead-folders.js';
import { lockFolder, logDir, openFolder, recover, releaseFolder } from './folder.js';
import type { FolderConfig } from './folder.js';
import { LogReader, LogWriter, segmentsOf } from './log.js';
import { SessionTable, TableMemory } from './table.js';

const LIMITS = { maxFrames: 100, maxBytes: 64 * 1024 };
const OLD_SPOOL = new URL('../testing/old-spool/', import.meta.url).pathname;

function configIn(dir: string, proxyId: string): FolderConfig {
  return { spool_dir: dir, spool_max_bytes: 10_000_000, proxy_id: proxyId };
}

function append(writer: LogWriter, events: readonly SessionEvent[]): void {
  const frames = new FrameWriter();
  for (const event of events) frames.add(partsOf(event));
  writer.append(frames.take());
}

interface Known {
  readonly log: readonly SessionEvent[];
  readonly measurement: Measurement;
}

/** A proxy that dies with these events in its log, and these sessions in its table. */
async function dieWith(
  config: FolderConfig,
  events: readonly SessionEvent[],
  known: readonly Known[] = [],
): Promise<void> {
  const { dir, end, table } = await openFolder(config);
  const writer = new LogWriter(logDir(dir), end, 20_000);
  for (const event of events) append(writer, [event]);
  writer.leave();
  const memory = new TableMemory();
  const sessions = new SessionTable(memory);
  for (const { log, measurement } of known) {
    const [started] = log;
    if (started?.type !== 'SessionStarted') throw new Error('no start');
    const session = { place: NO_PLACE, late: {}, started: () => partsOf(started) };
    sessions.write(session, measurement, false, 0);
  }
  table.save({ acknowledged: 0, aliveMs: 0, isClean: false }, memory, () => undefined);
  table.close();
  releaseFolder(dir);
}

function logs(count: number, closed: boolean, seed: number): SessionEvent[][] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, i) =>
    sessionLog({ random, startMs: 1_780_000_000_000 + i, closed }),
  );
}

function eventsOf(frames: readonly Frame[]): SessionEvent[] {
  return frames.map((frame) => sessionEvent.parse(JSON.parse(frame.json)));
}

/** All that would be published of a folder. */
function published(dir: string, from: number, end: number): SessionEvent[] {
  const reader = new LogReader(logDir(dir));
  const events: SessionEvent[] = [];
  for (let at = from; at < end;) {
    const { frames, next } = reader.read(at, end, LIMITS);
    events.push(...eventsOf(frames));
    at = next;
  }
  reader.close();
  return events;
}

function recovered(config: FolderConfig): { crashed: number; events: SessionEvent[] } {
  const dir = join(config.spool_dir, config.proxy_id);
  const { acknowledged, end, crashedSessions } = recover(dir, config.spool_max_bytes);
  return { crashed: crashedSessions, events: published(dir, acknowledged, end) };
}

/** Takes events while it accepts them. */
function kafka(isThere: () => boolean = () => true) {
  const events: SessionEvent[] = [];
  return {
    events,
    publish: async (frames: readonly Frame[]) => {
      if (!isThere()) return false;
      events.push(...eventsOf(frames));
      return true;
    },
  };
}

/** How many files this process has open; 0 if the system does not report it. */
function openFiles(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
}

describe('the folder of a proxy', () => {
  it('is readable by its owner alone', async () => {
    const config = configIn(tempDir(), 'p');
    const folder = await openFolder(config);
    expect(statSync(folder.dir).mode & 0o077).toBe(0);
    folder.table.close();
  });

  it('gives the events of a dead process, and an end to its open sessions', async () => {
    const config = configIn(tempDir(), 'p');
    const ended = logs(5, true, 1);
    const open = logs(5, false, 2);
    await dieWith(config, [...ended, ...open].flat());
    const { crashed, events } = recovered(config);
    expect(crashed).toBe(5);
    const states = fold(events);
    for (const log of ended) {
      expect(states.get(log[0]?.session_id ?? '')).toEqual([...fold(log).values()][0]);
    }
    for (const log of open) {
      const state = states.get(log[0]?.session_id ?? '');
      const last = log.at(-1);
      expect(state?.row).toMatchObject({
        close_reason: 'proxy_crashed',
        bytes_sent: last?.bytes_sent,
        seq: (last?.seq ?? 0) + 1,
      });
      expect(state?.minutes).toEqual([...fold(log).values()][0]?.minutes);
    }
  });

  it('ends an open session with its last state in the table or the log, whichever is newer', async () => {
    const config = configIn(tempDir(), 'p');
    const [one = [], two = [], three = []] = Array.from({ length: 3 }, (_, i) =>
      sessionLog({
        random: seededRandom(i + 20),
        startMs: 1_780_000_000_000,
        intervals: 4,
        closed: false,
      }),
    );
    const deltaOf = (log: readonly SessionEvent[], n: number): Measurement => {
      const deltas = log.filter((event) => event.type === 'TrafficDelta');
      const delta = deltas.at(n);
      if (delta === undefined) throw new Error('no delta');
      return measurementOf(delta);
    };
    const later = deltaOf(one, -1);
    await dieWith(
      config,
      [...one.slice(0, 2), ...two, ...three],
      [
        { log: one, measurement: later },
        { log: two, measurement: deltaOf(two, 0) },
      ],
    );
    const states = fold(recovered(config).events);
    for (const log of [one, two, three]) {
      const last = log.at(-1);
      expect(states.get(log[0]?.session_id ?? '')?.row).toMatchObject({
        close_reason: 'proxy_crashed',
        seq: (last?.seq ?? 0) + 1,
        bytes_sent: last?.bytes_sent,
        bytes_received: last?.bytes_received,
      });
    }
  });

  it('is recovered once: after a crash at any moment, the next process recovers the same', async () => {
    const config = configIn(tempDir(), 'p');
    await dieWith(config, [...logs(3, true, 3), ...logs(3, false, 4)].flat());
    const first = recovered(config);
    expect(first.crashed).toBe(3);
    // The table still shows them as open: that process died before it began a new one.
    const second = recovered(config);
    expect(second).toEqual({ crashed: 0, events: first.events });
  });

  it.each([0, Date.UTC(2200, 0)])(
    'has valid ends, however wrong the clock of the machine is (%i)',
    async (nowMs) => {
      const config = configIn(tempDir(), 'p');
      await dieWith(config, logs(3, false, 4).flat());
      const clock = vi.spyOn(Date, 'now').mockReturnValue(nowMs);
      // It checks each event by the contract.
      const { crashed } = recovered(config);
      clock.mockRestore();
      expect(crashed).toBe(3);
    },
  );

  it('that is cut off anywhere in its log gives all whole events, and an end to each session', async () => {
    const dir = tempDir();
    const config = configIn(dir, 'p');
    const events = [...logs(1, true, 5), ...logs(1, false, 6)].flat().slice(0, 6);
    await dieWith(config, events);
    const [start = 0] = segmentsOf(logDir(join(dir, 'p')));
    const name = `${String(start).padStart(16, '0')}.frames`;
    const size = statSync(join(logDir(join(dir, 'p')), name)).size;
    let written = 0;
    const ends = events.map((event) => {
      const frame = new FrameWriter();
      frame.add(partsOf(event));
      written += frame.bytes;
      return written;
    });
    expect(ends.at(-1)).toBe(size);
    for (let cut = 0; cut < size; cut += 47) {
      const copy = tempDir();
      cpSync(join(dir, 'p'), join(copy, 'p'), { recursive: true });
      truncateSync(join(logDir(join(copy, 'p')), name), cut);
      const whole = ends.filter((end) => end <= cut).length;
      const found = recovered(configIn(copy, 'p')).events;
      expect(found.slice(0, whole)).toEqual(events.slice(0, whole));
      const states = fold(found);
      expect(states.size).toBe(new Set(events.slice(0, whole).map((e) => e.session_id)).size);
      expect([...states.values()].filter(({ row }) => row?.status === 'active')).toEqual([]);
    }
  });

  it('of the former format is taken in as that version did it, and once', () => {
    const dir = tempDir();
    cpSync(OLD_SPOOL, dir, { recursive: true });
    const config = configIn(dir, 'proxy-1');
    const { crashed, events } = recovered(config);
    expect(crashed).toBe(4);
    const expected = (
      JSON.parse(readFileSync(join(OLD_SPOOL, 'recovered.json'), 'utf8')) as unknown[]
    ).map((event) => sessionEvent.parse(event));
    // When a crash was found and when the process was last alive is of no interest here, and that version
    // did not mark an end as assumed.
    const comparable = (some: readonly SessionEvent[]) =>
      new Map(
        [...fold(some)].map(([id, { row, minutes }]) => [
          id,
          [{ ...row, ended_at: 0, updated_at: 0, duration_ms: 0, assumed: 0, version: 0 }, minutes],
        ]),
      );
    expect(comparable(events)).toEqual(comparable(expected));
    expect(readdirSync(join(dir, 'proxy-1')).toSorted()).toEqual(['log']);
    expect(recovered(config)).toEqual({ crashed: 0, events });
  });
});

describe('the folder of a dead proxy', () => {
  it("is published in place by another proxy, and a living proxy's folder is not", async () => {
    const dir = tempDir();
    const own = configIn(dir, 'worker-1');
    await dieWith(configIn(dir, 'worker-7'), [...logs(5, true, 3), ...logs(4, false, 4)].flat());
    const living = await openFolder(configIn(dir, 'worker-2'));
    const mine = await openFolder(own);
    mkdirSync(join(dir, 'not-a-proxy'));
    writeFileSync(join(dir, 'a-file'), '');
    // Not while Kafka is away, and not lost then.
    expect(await publishDeadFolders(own, LIMITS, kafka(() => false).publish)).toMatchObject({
      emptied: [],
      bytes: 0,
    });
    const there = kafka();
    expect(await publishDeadFolders(own, LIMITS, there.publish)).toMatchObject({
      emptied: ['worker-7'],
      leftBytes: 0,
    });
    const states = fold(there.events);
    expect(states.size).toBe(9);
    expect([...states.values()].filter(({ row }) => row?.status === 'active')).toEqual([]);
    expect(readdirSync(dir).toSorted()).toEqual(['a-file', 'not-a-proxy', 'worker-1', 'worker-2']);
    expect(await publishDeadFolders(own, LIMITS, there.publish)).toMatchObject({
      emptied: [],
      bytes: 0,
    });
    mine.table.close();
    living.table.close();
  });

  it('is published in pieces if it is large, each event once, and is free for its owner in between', async () => {
    const dir = tempDir();
    const own = configIn(dir, 'small');
    await dieWith(configIn(dir, 'large'), [...logs(200, true, 5), ...logs(40, false, 6)].flat());
    let left = 0;
    const there = kafka(() => {
      left -= 1;
      return left >= 0;
    });
    const turns: DeadFolders[] = [];
    while (existsSync(join(dir, 'large'))) {
      left = 3;
      turns.push(await publishDeadFolders(own, LIMITS, there.publish));
      if (!existsSync(join(dir, 'large'))) break;
      expect(lockFolder(join(dir, 'large'))).toBe(true);
      releaseFolder(join(dir, 'large'));
    }
    expect(turns.length).toBeGreaterThan(2);
    expect(turns.map(({ crashedSessions }) => crashedSessions)).toEqual([
      40,
      ...turns.slice(1).map(() => 0),
    ]);
    const names = there.events.map((event) => `${event.session_id}/${event.seq}`);
    expect(new Set(names).size).toBe(names.length);
    const states = fold(there.events);
    expect(states.size).toBe(240);
    expect([...states.values()].filter(({ row }) => row?.status === 'active')).toEqual([]);
  });

  it('does not grow, and no file stays open, however often Kafka is away', async () => {
    const dir = tempDir();
    const own = configIn(dir, 'worker-1');
    await dieWith(configIn(dir, 'worker-7'), [...logs(20, true, 7), ...logs(20, false, 8)].flat());
    const away = kafka(() => false);
    const { leftBytes } = await publishDeadFolders(own, LIMITS, away.publish);
    expect(leftBytes).toBeGreaterThan(20_000);
    const files = openFiles();
    for (let attempt = 0; attempt < 5; attempt += 1) {
      expect(await publishDeadFolders(own, LIMITS, away.publish)).toMatchObject({
        bytes: 0,
        leftBytes,
      });
    }
    expect((await publishDeadFolders(own, LIMITS, kafka().publish)).emptied).toEqual(['worker-7']);
    expect(openFiles()).toBe(files);
  });

  it('that cannot be read stays, is reported, and holds up no other one', async () => {
    const dir = tempDir();
    const own = configIn(dir, 'own');
    for (const name of ['a', 'c']) await dieWith(configIn(dir, name), logs(2, true, 9).flat());
    // Also holds for root, who may read every file.
    mkdirSync(join(logDir(join(dir, 'b')), `${'0'.repeat(16)}.frames`), { recursive: true });
    writeFileSync(join(dir, 'b', 'owner'), '');
    const there = kafka();
    const files = openFiles();
    const { emptied, trouble } = await publishDeadFolders(own, LIMITS, there.publish);
    expect(emptied.toSorted()).toEqual(['a', 'c']);
    expect(trouble?.code).toBe('spool_io');
    expect(openFiles()).toBe(files);
    expect(readdirSync(dir)).toEqual(['b']);
  });

  it('is not any folder with a log: those of other programs stay as they are', async () => {
    const dir = tempDir();
    const own = configIn(dir, 'own');
    for (const name of ['log', 'events']) {
      mkdirSync(join(dir, 'database', name), { recursive: true });
      writeFileSync(join(dir, 'database', name, 'monday'), 'of somebody');
    }
    await dieWith(configIn(dir, 'dead'), logs(2, true, 9).flat());
    writeFileSync(join(dir, 'dead', 'log', 'note'), 'of somebody');
    const there = kafka();
    await publishDeadFolders(own, LIMITS, there.publish);
    expect(fold(there.events).size).toBe(2);
    for (const name of ['log', 'events']) {
      expect(readdirSync(join(dir, 'database', name))).toEqual(['monday']);
    }
    expect(readdirSync(join(dir, 'dead', 'log'))).toEqual(['note']);
  });

  it('of the former format is published too', async () => {
    const dir = tempDir();
    cpSync(OLD_SPOOL, dir, { recursive: true });
    const there = kafka();
    const done = await publishDeadFolders(configIn(dir, 'another'), LIMITS, there.publish);
    expect(done).toMatchObject({ emptied: ['proxy-1'], crashedSessions: 4 });
    expect(fold(there.events).size).toBeGreaterThan(5);
  });

  it('is deleted, also after an interrupted deletion, and its name is free for its owner', async () => {
    const dir = tempDir();
    const own = configIn(dir, 'worker-1');
    // A process that died during the deletion left this.
    mkdirSync(join(dir, 'worker-6', 'log'), { recursive: true });
    writeFileSync(join(dir, 'worker-6', 'owner'), '');
    await dieWith(configIn(dir, 'worker-7'), logs(5, true, 9).flat());
    expect((await publishDeadFolders(own, LIMITS, kafka().publish)).emptied).toEqual([
      'worker-6',
      'worker-7',
    ]);
    expect(readdirSync(dir)).toEqual([]);
    const back = await openFolder(configIn(dir, 'worker-7'));
    expect((await publishDeadFolders(own, LIMITS, kafka().publish)).emptied).toEqual([]);
    expect(readdirSync(dir)).toEqual(['worker-7']);
    back.table.close();
  });
});
