import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { Registry } from '@sockscope/runtime';
import { COUNTER_NAMES, fold, sessionEvent, totalsOf, zeroCounters } from '@sockscope/schemas';
import type { Counters, SessionEvent, TrafficDelta } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { createSessionClock } from '../sessions/clock.js';
import { trackingConfig } from '../sessions/config.js';
import { createSessionMetrics } from '../sessions/metrics.js';
import type { Session } from '../sessions/session.js';
import { createSessionTracker } from '../sessions/tracker.js';
import { framesOf, FrameWriter } from './frames.js';
import { createOutbox } from './outbox.js';
import type { Outbox, OutboxConfig } from './outbox.js';
import { readingOf } from './reading.js';
import type { SessionReading } from './reading.js';
import { openSpoolFolder } from './spool/folder.js';
import type { SpoolFolder } from './spool/folder.js';
import { readJournal } from './spool/journal.js';
import type { SessionJournal } from './spool/journal.js';
import { releaseFolder } from './spool/lock.js';
import { IntakeReader, IntakeWriter } from './spool/intake.js';
import { SpoolError } from './spool/log.js';
import type { SpoolLog } from './spool/log.js';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-outbox-'));
  dirs.push(dir);
  return dir;
}

const LIMITS: OutboxConfig = {
  queue_max_bytes: 1_000_000,
  spool_max_bytes: 10_000_000,
  batch_max_records: 4,
  batch_max_bytes: 1_000_000,
};

function openFolder(dir: string, spoolMaxBytes = LIMITS.spool_max_bytes): Promise<SpoolFolder> {
  return openSpoolFolder({ spool_dir: dir, spool_max_bytes: spoolMaxBytes, proxy_id: 'proxy-1' });
}

function give(
  outbox: Outbox,
  events: readonly SessionEvent[],
  readings: readonly SessionReading[] = [],
): void {
  const writer = new FrameWriter((chunk) => {
    outbox.accept(framesOf(chunk));
  });
  for (const event of events) writer.event(event);
  for (const reading of readings) writer.reading(reading);
  writer.flush();
}

/** What a session's counters said after so many of its deltas. */
function readingAfter(log: readonly SessionEvent[], count: number): SessionReading {
  const delta = deltas(log)[count - 1];
  if (delta === undefined) throw new Error(`no delta ${count}`);
  return readingOf(delta);
}

function journalFile(folder: SpoolFolder): string {
  return join(dirname(folder.intakeDir), 'open-sessions');
}

/** A journal whose disk can be full. */
function refusing(real: SessionJournal): {
  journal: SessionJournal;
  refuse: (isFull: boolean) => void;
} {
  let isFull = false;
  const note: SessionJournal['note'] = (happened) => {
    if (isFull) throw new SpoolError('cannot write', new Error('ENOSPC'));
    real.note(happened);
  };
  return {
    journal: Object.create(real, { note: { value: note } }) as SessionJournal,
    refuse(yes) {
      isFull = yes;
    },
  };
}

/** Publishes up to so many batches, all of them acknowledged. */
function publish(outbox: Outbox, batches = Number.POSITIVE_INFINITY): SessionEvent[] {
  const published: SessionEvent[] = [];
  for (let i = 0; i < batches; i += 1) {
    const batch = outbox.next();
    if (batch === null) break;
    published.push(...batch.payloads.map((p) => sessionEvent.parse(JSON.parse(String(p)))));
    outbox.acknowledge(batch);
  }
  return published;
}

function seqs(events: readonly SessionEvent[]): number[] {
  return events.map((e) => e.seq);
}

/** A session's log of many deltas, each minute with several. */
function longLog(seed = 1): SessionEvent[] {
  return sessionLog({
    random: seededRandom(seed),
    startMs: 1_780_000_000_000,
    intervals: 12,
    closed: true,
  });
}

function deltas(log: readonly SessionEvent[]): TrafficDelta[] {
  return log.filter((e) => e.type === 'TrafficDelta');
}

describe('the outbox', () => {
  it('publishes everything in order while Kafka keeps up', async () => {
    const folder = await openFolder(tempDir());
    const outbox = createOutbox(LIMITS, { ...folder, onTrouble: () => undefined });
    const log = longLog();
    const published = log.flatMap((event) => {
      give(outbox, [event]);
      return publish(outbox);
    });
    expect(published).toEqual(log.map((event) => sessionEvent.parse(event)));
    expect(outbox.isEmpty).toBe(true);
    expect(outbox.counts.superseded).toBe(0);
    folder.close();
  });

  it('lets deltas supersede each other within a minute while they wait, and keeps the last of each minute', async () => {
    const folder = await openFolder(tempDir());
    const outbox = createOutbox(LIMITS, { ...folder, onTrouble: () => undefined });
    const log = longLog();
    give(outbox, log);
    const published = publish(outbox);
    expect(published.length).toBeLessThan(log.length);
    expect(outbox.counts.superseded).toBe(log.length - published.length);
    expect(fold(published)).toEqual(fold(log));
    const minutes = new Set(deltas(log).map((e) => e.interval_start.slice(0, 16)));
    expect(deltas(published)).toHaveLength(minutes.size);
    expect(seqs(published)).toEqual(seqs(published).toSorted((a, b) => a - b));
    folder.close();
  });

  it('holds deltas back while a backlog waits, and sends them along when there is room', async () => {
    const folder = await openFolder(tempDir());
    const outbox = createOutbox(
      { ...LIMITS, batch_max_bytes: 3_000 },
      { ...folder, onTrouble: () => undefined },
    );
    const random = seededRandom(4);
    const others = Array.from({ length: 30 }, (_, i) =>
      sessionLog({ random, startMs: 1_780_000_000_000 + i, intervals: 0, closed: true }),
    ).flat();
    // One whose first delta is not the last of its minute.
    const log = [1, 2, 3, 4, 5]
      .map(longLog)
      .find((each) => deltas(each)[0]?.interval_end.endsWith(':00.000Z') === false);
    const [start, first] = (log ?? []) as [SessionEvent, SessionEvent];
    give(outbox, [start, first, ...others]);
    expect(outbox.counts.heldDeltas).toBe(1);
    const early = publish(outbox, 1);
    expect(early).not.toContainEqual(sessionEvent.parse(first));
    expect(outbox.counts.heldDeltas).toBe(1);
    expect(publish(outbox)).toContainEqual(sessionEvent.parse(first));
    expect(outbox.isEmpty).toBe(true);
    folder.close();
  });

  it('reads back from disk what memory had no room for, without a gap or a repetition', async () => {
    const folder = await openFolder(tempDir());
    const outbox = createOutbox(
      { ...LIMITS, queue_max_bytes: 20_000 },
      { ...folder, onTrouble: () => undefined },
    );
    const random = seededRandom(9);
    const logs = Array.from({ length: 400 }, (_, i) =>
      sessionLog({ random, startMs: 1_780_000_000_000 + i, intervals: 0, closed: true }),
    );
    const published: SessionEvent[] = [];
    logs.forEach((log, i) => {
      give(outbox, log);
      expect(outbox.counts.memoryBytes).toBeLessThanOrEqual(20_000 + 3_000);
      if (i % 50 === 49) published.push(...publish(outbox, 20));
    });
    published.push(...publish(outbox));
    expect(published).toEqual(logs.flat().map((event) => sessionEvent.parse(event)));
    // And from memory again afterwards.
    give(outbox, longLog().slice(0, 1));
    expect(outbox.counts.memoryBytes).toBeGreaterThan(0);
    expect(publish(outbox)).toHaveLength(1);
    folder.close();
  });

  it('takes hundreds of thousands of events at once', async () => {
    const folder = await openFolder(tempDir());
    const outbox = createOutbox(
      { ...LIMITS, queue_max_bytes: 100_000_000, batch_max_records: 100_000 },
      { ...folder, onTrouble: () => undefined },
    );
    const payloads = Array.from({ length: 300_000 }, (_, i) => Buffer.from(String(i)));
    outbox.adopt(payloads);
    let next = 0;
    for (let batch = outbox.next(); batch !== null; batch = outbox.next()) {
      expect(String(batch.payloads.at(-1))).toBe(String(next + batch.payloads.length - 1));
      next += batch.payloads.length;
      outbox.acknowledge(batch);
    }
    expect(next).toBe(payloads.length);
    folder.close();
  });

  it('is full before the disk is, and drops and counts beyond it', async () => {
    const folder = await openFolder(tempDir(), 1_048_576);
    const outbox = createOutbox(
      { ...LIMITS, spool_max_bytes: 200_000 },
      { ...folder, onTrouble: () => undefined },
    );
    const random = seededRandom(9);
    let given = 0;
    let fullAt = 0;
    while (outbox.counts.dropped === 0) {
      const log = sessionLog({
        random,
        startMs: 1_780_000_000_000 + given,
        intervals: 0,
        closed: true,
      });
      give(outbox, log);
      given += log.length;
      if (outbox.counts.isFull && fullAt === 0) fullAt = given;
    }
    expect(fullAt).toBeGreaterThan(0);
    expect(fullAt).toBeLessThan(given - 10);
    const published = publish(outbox);
    expect(published.length + outbox.counts.dropped).toBe(given);
    expect(outbox.counts.isFull).toBe(false);
    folder.close();
  });

  it('keeps room for the ends of open sessions, however long they go on while the spool is full', async () => {
    const folder = await openFolder(tempDir(), 1_048_576);
    const outbox = createOutbox(
      { ...LIMITS, queue_max_bytes: 200_000, spool_max_bytes: 1_048_576 },
      { ...folder, onTrouble: () => undefined },
    );
    const random = seededRandom(11);
    const sessions = Array.from({ length: 150 }, (_, i) =>
      sessionLog({ random, startMs: 1_780_000_000_000 + i, intervals: 60, closed: true }),
    );
    let isFullBeforeDrops = false;
    for (let at = 0; sessions.some((log) => at < log.length - 1); at += 1) {
      give(
        outbox,
        sessions.flatMap((log) => log.slice(0, -1)[at] ?? []),
      );
      if (outbox.counts.dropped === 0) isFullBeforeDrops ||= outbox.isFull;
    }
    expect(isFullBeforeDrops).toBe(true);
    expect(outbox.counts.dropped).toBeGreaterThan(1_000);
    give(
      outbox,
      sessions.flatMap((log) => log.at(-1) ?? []),
    );
    expect(folder.log.diskBytes).toBeLessThanOrEqual(1_048_576);
    const states = fold(publish(outbox));
    for (const log of sessions) {
      const { row } = [...fold(log).values()][0] ?? {};
      expect(states.get(log[0]?.session_id ?? '')?.row).toEqual(row);
    }
    expect(outbox.isFull).toBe(false);
    folder.close();
  });

  it('keeps events in memory while the disk refuses, still in order, and counts what has no room', async () => {
    const folder = await openFolder(tempDir());
    let isBroken = false;
    const troubles: boolean[] = [];
    const log = Object.create(folder.log, {
      append: {
        value: (payloads: Uint8Array[]) => {
          if (isBroken) throw new SpoolError('cannot write', new Error('ENOSPC'));
          return folder.log.append(payloads);
        },
      },
    }) as SpoolLog;
    const outbox = createOutbox(
      { ...LIMITS, queue_max_bytes: 20_000 },
      { log, journal: folder.journal, onTrouble: (trouble) => troubles.push(trouble !== null) },
    );
    const random = seededRandom(3);
    const sessions = Array.from({ length: 30 }, (_, i) =>
      sessionLog({ random, startMs: 1_780_000_000_000 + i, intervals: 0, closed: true }),
    );
    const [a = [], b = [], c = [], ...rest] = sessions;
    give(outbox, a);
    isBroken = true;
    give(outbox, b);
    expect(outbox.counts.isFull).toBe(false);
    isBroken = false;
    outbox.maintain();
    give(outbox, c);
    expect(publish(outbox)).toEqual([...a, ...b, ...c].map((event) => sessionEvent.parse(event)));
    isBroken = true;
    for (const each of rest) give(outbox, each);
    expect(outbox.counts.isFull).toBe(true);
    expect(outbox.counts.dropped).toBeGreaterThan(0);
    expect(publish(outbox).length + outbox.counts.dropped).toBe(rest.flat().length);
    expect(troubles).toEqual([true, false, true]);
    folder.close();
  });

  it.each(['the next event', 'a second', 'the end'] as const)(
    'tells the journal at %s what the disk refused to take of it',
    async (when) => {
      const folder = await openFolder(tempDir());
      const { journal, refuse } = refusing(folder.journal);
      const troubles: boolean[] = [];
      const outbox = createOutbox(LIMITS, {
        log: folder.log,
        journal,
        onTrouble: (trouble) => troubles.push(trouble !== null),
      });
      const known = () => readJournal(journalFile(folder));
      const [ends = [], begins = [], goesOn = [], later = []] = [1, 2, 3, 4].map(longLog);
      const idOf = (log: readonly SessionEvent[]) => log[0]?.session_id ?? '';
      give(outbox, [...ends.slice(0, 1), ...goesOn.slice(0, 1)]);
      refuse(true);
      give(outbox, [...begins.slice(0, 1), ...longLog(5)], [readingAfter(goesOn, 1)]);
      give(outbox, ends.slice(-1), [readingAfter(goesOn, 2), readingAfter(begins, 1)]);
      give(outbox, [], [readingAfter(begins, 2)]);
      expect([...known().keys()]).toEqual([idOf(ends), idOf(goesOn)]);
      expect(publish(outbox)).toContainEqual(ends.at(-1));
      refuse(false);
      if (when === 'the next event') give(outbox, later.slice(0, 1));
      else if (when === 'a second') outbox.maintain();
      else outbox.close();
      const open = known();
      open.delete(idOf(later));
      expect([...open.keys()]).toEqual([idOf(goesOn), idOf(begins)]);
      for (const log of [goesOn, begins]) {
        expect(open.get(idOf(log))?.reading).toEqual(readingAfter(log, 2));
      }
      expect(troubles).toEqual([true, false]);
      folder.close();
    },
  );

  it('keeps of what the journal could not be told no more than the open sessions need', async () => {
    const folder = await openFolder(tempDir());
    const { journal, refuse } = refusing(folder.journal);
    const outbox = createOutbox(LIMITS, {
      log: folder.log,
      journal,
      onTrouble: () => undefined,
    });
    const random = seededRandom(8);
    const sessions = Array.from({ length: 1_000 }, (_, i) =>
      sessionLog({ random, startMs: 1_780_000_000_000 + i, intervals: 2, closed: true }),
    );
    const [before, stay, pass] = [
      sessions.slice(0, 300),
      sessions.slice(300, 600),
      sessions.slice(600),
    ];
    give(
      outbox,
      before.flatMap((log) => log.slice(0, 1)),
    );
    publish(outbox);
    const memoryBytes = outbox.counts.memoryBytes;
    refuse(true);
    for (let round = 0; round < 3; round += 1) {
      give(
        outbox,
        round === 0 ? stay.flatMap((log) => log.slice(0, 1)) : [],
        stay.map((log) => readingAfter(log, 1)),
      );
    }
    for (const log of pass) give(outbox, log);
    give(
      outbox,
      before.flatMap((log) => log.slice(-1)),
    );
    publish(outbox);
    // A first event and a reading, and an id.
    const keptBytes = outbox.counts.memoryBytes - memoryBytes;
    expect(keptBytes).toBeGreaterThan(300 * 500);
    expect(keptBytes).toBeLessThan(300 * 1_500);
    refuse(false);
    outbox.maintain();
    expect(outbox.counts.memoryBytes).toBe(memoryBytes);
    expect(readJournal(journalFile(folder)).size).toBe(300);
    folder.close();
  });
});

const START = Date.parse('2026-03-14T12:00:00.000Z');
const step = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ do: 'open' as const }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('count' as const),
      which: fc.nat(4),
      bytes: fc.nat(1_000_000),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.oneof(fc.nat(2_000), fc.nat(40_000), fc.constant(60_000)),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('close' as const), which: fc.nat(4) }) },
  // Kafka takes so many batches; between them it is away.
  { weight: 3, arbitrary: fc.record({ do: fc.constant('publish' as const), batches: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'maintain' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'kill' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'restart' as const }) },
);

describe('whatever Kafka does and whenever the process dies', () => {
  it('every session and byte that a sweep saw is published, and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 60 }),
        fc.constantFrom(2_000, 1_000_000),
        async (steps, queueMaxBytes) => {
          const dir = tempDir();
          const time = { wall: START, monotonic: 0 };
          const published = new Map<string, string>();
          /** What the last sweep, or the end, saw of each session. */
          const truth = new Map<string, Counters>();

          async function incarnate() {
            const folder = await openFolder(dir);
            const outbox = createOutbox(
              { ...LIMITS, queue_max_bytes: queueMaxBytes },
              { ...folder, onTrouble: () => undefined },
            );
            const intake = new IntakeWriter(folder.intakeDir);
            const reader = new IntakeReader(folder.intakeDir);
            const writer = new FrameWriter((chunk) => {
              intake.write(chunk);
            });
            const sessions: Session[] = [];
            const tracker = createSessionTracker(trackingConfig.parse({}), {
              sink: {
                accepting: true,
                emit(event) {
                  writer.event(event);
                  truth.set(event.session_id, totalsOf(event));
                },
                note(reading) {
                  writer.reading(reading);
                  truth.set(reading.session_id, reading.totals);
                },
              },
              clock: createSessionClock(
                () => time.wall,
                () => time.monotonic,
              ),
              metrics: createSessionMetrics(new Registry()),
              origin: { proxy_id: 'proxy-1', proxy_epoch: time.wall },
            });
            const lastSeq = new Map<string, number>();
            return {
              folder,
              outbox,
              tracker,
              sessions,
              handOver() {
                writer.flush();
              },
              /** What the other thread does when it looks. */
              take() {
                reader.take(intake.position, (chunks) => {
                  outbox.accept(framesOf(...chunks));
                });
              },
              publish(batches: number) {
                for (const event of publish(outbox, batches)) {
                  const key = `${event.session_id}/${event.seq}`;
                  const text = JSON.stringify(event);
                  expect(published.get(key) ?? text).toBe(text);
                  // What a crash repeats may come behind what followed it.
                  if (published.has(key)) continue;
                  published.set(key, text);
                  expect(event.seq).toBeGreaterThan(lastSeq.get(event.session_id) ?? -1);
                  lastSeq.set(event.session_id, event.seq);
                }
              },
            };
          }

          let now = await incarnate();
          for (const each of steps) {
            const live = now.sessions.filter((s) => !s.closed);
            switch (each.do) {
              case 'open': {
                const session = now.tracker.open({
                  user: 'u',
                  source_ip: '192.0.2.1',
                  source_port: 1,
                  dest_host: 'h',
                  dest_ip: null,
                  dest_port: 80,
                  protocol: 'tcp',
                  command: 'connect',
                  auth_method: 'none',
                  acl_decision: 'allow',
                  acl_rule_matched: null,
                });
                if (session !== null) now.sessions.push(session);
                break;
              }
              case 'count': {
                const session = live[each.which];
                if (session === undefined) break;
                session.bytesReceived += each.bytes;
                session.packetsReceived += 1;
                break;
              }
              case 'pass':
                time.wall += each.ms;
                time.monotonic += each.ms;
                now.tracker.sweep();
                break;
              case 'close':
                live[each.which]?.close('client_eof', null);
                break;
              case 'publish':
                now.take();
                now.publish(each.batches);
                break;
              case 'maintain':
                now.outbox.maintain();
                break;
              case 'kill':
                releaseFolder(join(dir, 'proxy-1'));
                now = await incarnate();
                break;
              case 'restart':
                now.tracker.stop();
                now.handOver();
                now.take();
                now.outbox.close();
                now.folder.close();
                now = await incarnate();
                break;
            }
            now.handOver();
          }
          releaseFolder(join(dir, 'proxy-1'));
          const last = await incarnate();
          last.publish(Number.POSITIVE_INFINITY);
          expect(last.outbox.isEmpty).toBe(true);
          last.folder.close();
          rmSync(dir, { recursive: true });

          const events = [...published.values()].map((text) =>
            sessionEvent.parse(JSON.parse(text)),
          );
          const states = fold(events);
          expect([...states.keys()].toSorted()).toEqual([...truth.keys()].toSorted());
          for (const [id, totals] of truth) {
            const state = states.get(id);
            expect(state?.row).toMatchObject({ ...totals });
            expect(state?.row?.status).not.toBe('active');
            const summed = zeroCounters();
            for (const minute of state?.minutes.values() ?? []) {
              for (const name of COUNTER_NAMES) summed[name] += minute[name];
            }
            expect(summed).toEqual(totals);
          }
        },
      ),
      { numRuns: 120 },
    );
  }, 60_000);
});
