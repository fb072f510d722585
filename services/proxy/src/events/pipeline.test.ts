/** Longer than 400 lines: all tests run one pipeline, with a Kafka that can be away, full or picky. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { createLogger, Registry } from '@sockscope/runtime';
import { kafkaConfig, KafkaError } from '@sockscope/runtime/kafka';
import { fold, sessionEvent } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { eventsConfig } from './config.js';
import { partsOf } from './event-parts.js';
import { frameBytesOf, FrameWriter } from './frame.js';
import { measurementOf } from './measurement.js';
import { createEventPipeline } from './pipeline.js';
import { refusedFiles, refusedFolder } from './refused/store.js';
import { NO_PLACE } from './sink.js';
import { fakeKafka, metric, run } from './testing/run-pipeline.js';
import { tempDir } from './testing/temp-dir.js';

/** The events that were kept because Kafka refuses them. */
function keptIn(dir: string): SessionEvent[] {
  return [...refusedFiles(refusedFolder(dir))].flatMap(({ events }) =>
    events.map(({ value }) => sessionEvent.parse(JSON.parse(value ?? 'null'))),
  );
}

function someLogs(count: number, closed = true, seed = 1): SessionEvent[][] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, i) =>
    sessionLog({ random, startMs: 1_780_000_000_000 + i * 1_000, closed }),
  );
}

function frameBytes(event: SessionEvent): number {
  return frameBytesOf(partsOf(event)).length;
}

/** Events that come after a later one of their session. */
function outOfOrder(published: readonly SessionEvent[]): SessionEvent[] {
  const last = new Map<string, number>();
  return published.filter(({ session_id, seq }) => {
    const isLate = seq <= (last.get(session_id) ?? -1);
    last.set(session_id, seq);
    return isLate;
  });
}

describe('the event pipeline', () => {
  it('publishes every event of a log, keyed by session and in its order', async () => {
    const kafka = fakeKafka();
    const { pipeline, registry } = await run(tempDir(), kafka);
    const events = someLogs(50).flat();
    for (const event of events) pipeline.emit(partsOf(event));
    await pipeline.stop();
    expect(fold(kafka.published)).toEqual(fold(events));
    expect(outOfOrder(kafka.published)).toEqual([]);
    expect(await metric(registry, 'sockscope_proxy_events_emitted_total')).toBe(events.length);
    expect(await metric(registry, 'sockscope_proxy_events_published_total')).toBe(
      kafka.published.length,
    );
    expect(
      (await metric(registry, 'sockscope_proxy_events_superseded_total')) + kafka.published.length,
    ).toBe(events.length);
  });

  it('waits for more events while many come, so that requests are few', async () => {
    const kafka = fakeKafka();
    const linger_ms = 100;
    const { pipeline } = await run(tempDir(), kafka, { linger_ms });
    const startedMs = performance.now();
    const elapsedMs = (): number => performance.now() - startedMs;
    for (let seed = 1; elapsedMs() < 12 * linger_ms; seed += 1) {
      for (const event of someLogs(30, true, seed).flat()) pipeline.emit(partsOf(event));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // Four waits pass from one request to the next; a single one if the process stood still meanwhile.
    await vi.waitFor(() => {
      expect(kafka.state.requests).toBeGreaterThan(0);
    }, 60_000);
    expect(elapsedMs() / kafka.state.requests).toBeGreaterThan(2.2 * linger_ms);
  });

  it('loses nothing in an outage, and reports it', async () => {
    const kafka = fakeKafka();
    const { pipeline, registry } = await run(tempDir(), kafka);
    kafka.state.isAway = true;
    const events = someLogs(200).flat();
    for (const event of events) pipeline.emit(partsOf(event));
    await vi.waitFor(async () => {
      expect(await metric(registry, 'sockscope_proxy_publish_failing_seconds')).toBeGreaterThan(0);
      expect(await metric(registry, 'sockscope_proxy_spool_bytes')).toBeGreaterThan(100_000);
    }, 60_000);
    expect(pipeline.health().ok).toBe(true);
    expect(pipeline.health().detail).toMatch(/^events wait for \d+ s: /);
    kafka.state.isAway = false;
    await pipeline.stop();
    expect(fold(kafka.published)).toEqual(fold(events));
    expect(outOfOrder(kafka.published)).toEqual([]);
    expect(await metric(registry, 'sockscope_proxy_publish_failing_seconds')).toBe(0);
    expect(await metric(registry, 'sockscope_proxy_spool_bytes')).toBe(0);
  });

  it("counts failed requests by the broker's error, so that a wrong clock has a name", async () => {
    const kafka = fakeKafka();
    const { pipeline, registry } = await run(tempDir(), kafka);
    kafka.state.isAway = true;
    kafka.state.failure = new KafkaError('kafka_rejected', 'out of range', {
      retryable: false,
      type: 'INVALID_TIMESTAMP',
    });
    const events = someLogs(1).flat();
    for (const event of events) pipeline.emit(partsOf(event));
    await vi.waitFor(async () => {
      expect(await registry.metrics()).toMatch(
        /^sockscope_proxy_publish_failures_total\{code="kafka_rejected",type="INVALID_TIMESTAMP"\} [1-9]/m,
      );
    }, 60_000);
    kafka.state.isAway = false;
    await pipeline.stop();
    expect(fold(kafka.published)).toEqual(fold(events));
  });

  it('that is stopped while Kafka is away publishes the rest after the next start', async () => {
    const dir = tempDir();
    const kafka = fakeKafka();
    const first = await run(dir, kafka, { flush_timeout_ms: 30 });
    kafka.state.isAway = true;
    const events = someLogs(20).flat();
    for (const event of events) first.pipeline.emit(partsOf(event));
    await first.pipeline.stop();
    expect(kafka.published).toHaveLength(0);
    kafka.state.isAway = false;
    const second = await run(dir, kafka);
    await second.pipeline.stop();
    expect(fold(kafka.published)).toEqual(fold(events));
    expect(readdirSync(join(dir, 'proxy-1', 'log'))).toEqual([]);
  });

  it('that was killed publishes the rest after the next start, and closes open sessions as crashed', async () => {
    const dir = tempDir();
    const kafka = fakeKafka();
    const first = await run(dir, kafka);
    kafka.state.isAway = true;
    const ended = someLogs(10, true, 1);
    const open = someLogs(10, false, 2);
    const given = [...ended, ...open].flat();
    for (const event of given) first.pipeline.emit(partsOf(event));
    await vi.waitFor(async () => {
      expect(await metric(first.registry, 'sockscope_proxy_spool_bytes')).toBeGreaterThan(
        given.reduce((sum, event) => sum + frameBytes(event), 0),
      );
    }, 60_000);
    first.kill();
    kafka.state.isAway = false;
    const second = await run(dir, kafka);
    await second.pipeline.stop();
    expect(await metric(second.registry, 'sockscope_proxy_sessions_crashed_total')).toBe(10);
    const states = fold(kafka.published);
    for (const log of ended) {
      expect(states.get(log[0]?.session_id ?? '')).toEqual(fold(log).values().next().value);
    }
    for (const log of open) {
      expect(states.get(log[0]?.session_id ?? '')?.row).toMatchObject({
        status: 'failed',
        close_reason: 'proxy_crashed',
      });
    }
  });

  it('refuses new sessions while the spool is full, takes the ends of open ones, and recovers', async () => {
    const kafka = fakeKafka();
    const { pipeline, registry } = await run(tempDir(), kafka, { spool_max_bytes: 1_048_576 });
    kafka.state.isAway = true;
    expect(pipeline.accepting).toBe(true);
    const given: SessionEvent[] = [];
    for (const log of someLogs(2_000)) {
      for (const event of log) pipeline.emit(partsOf(event));
      given.push(...log);
      if (given.length % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 8));
      if (!pipeline.accepting) break;
    }
    expect(pipeline.accepting).toBe(false);
    expect(pipeline.health().ok).toBe(false);
    kafka.state.isAway = false;
    await vi.waitFor(() => {
      // As the tracker does; the log is deleted behind it.
      pipeline.swept();
      expect(pipeline.accepting).toBe(true);
    }, 60_000);
    await pipeline.stop();
    expect(await metric(registry, 'sockscope_proxy_events_dropped_total')).toBe(0);
    expect(fold(kafka.published)).toEqual(fold(given));
  });

  it('keeps room for the ends of open sessions, whatever else fills the spool', async () => {
    const kafka = fakeKafka();
    const { pipeline, registry } = await run(tempDir(), kafka, {
      spool_max_bytes: 1_048_576,
      full_policy: 'drop',
    });
    kafka.state.isAway = true;
    const sessions = someLogs(100);
    for (const [started] of sessions) if (started !== undefined) pipeline.emit(partsOf(started));
    const dropped = (): Promise<number> => metric(registry, 'sockscope_proxy_events_dropped_total');
    for (const event of someLogs(2_000, true, 2).flat()) {
      if (event.type !== 'SessionClosed') pipeline.emit(partsOf(event));
    }
    // The last ones are not written yet.
    pipeline.swept();
    const before = await dropped();
    expect(before).toBeGreaterThan(0);
    const ends = sessions.map((log) => log.at(-1));
    for (const end of ends) if (end !== undefined) pipeline.emit(partsOf(end));
    kafka.state.isAway = false;
    await pipeline.stop();
    expect(await dropped()).toBe(before);
    expect(kafka.published.filter(({ type }) => type === 'SessionClosed')).toEqual(ends);
  });

  it('has one TrafficDelta of a session waiting in an outage, the last, which takes no room in the log', async () => {
    const kafka = fakeKafka();
    const { pipeline, registry } = await run(tempDir(), kafka);
    const [log = []] = someLogs(1);
    const [started] = log;
    const delta = log.find((event) => event.type === 'TrafficDelta');
    if (started?.type !== 'SessionStarted' || delta === undefined) throw new Error('no session');
    const session = { place: NO_PLACE, late: {}, started: () => partsOf(started) };
    kafka.state.isAway = true;
    pipeline.emit(partsOf(started));
    for (let seq = 1; seq <= 500; seq += 1) {
      pipeline.report(session, { ...measurementOf(delta), seq });
      if (seq % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 8));
    }
    await vi.waitFor(async () => {
      expect(await metric(registry, 'sockscope_proxy_queue_deltas')).toBe(1);
    }, 60_000);
    const chunk = new FrameWriter();
    chunk.add(partsOf(started));
    expect(await metric(registry, 'sockscope_proxy_spool_bytes')).toBe(chunk.bytes);
    kafka.state.isAway = false;
    await pipeline.stop();
    expect(kafka.published.at(-1)?.seq).toBe(500);
    expect(
      (await metric(registry, 'sockscope_proxy_events_superseded_total')) + kafka.published.length,
    ).toBe(501);
  });

  it('publishes the events of a proxy that is gone, while its own continue', async () => {
    const dir = tempDir();
    const kafka = fakeKafka();
    const gone = await run(dir, kafka, {}, 'proxy-2');
    kafka.state.isAway = true;
    const open = someLogs(10, false, 3).flat();
    for (const event of open) gone.pipeline.emit(partsOf(event));
    await vi.waitFor(async () => {
      expect(await metric(gone.registry, 'sockscope_proxy_spool_bytes')).toBeGreaterThan(
        open.reduce((sum, event) => sum + frameBytes(event), 0),
      );
    }, 60_000);
    gone.kill();
    kafka.state.isAway = false;
    const { pipeline, registry } = await run(dir, kafka);
    const own = someLogs(10, true, 4).flat();
    for (const event of own) pipeline.emit(partsOf(event));
    await vi.waitFor(() => {
      expect(readdirSync(dir)).toEqual(['proxy-1']);
    }, 60_000);
    await pipeline.stop();
    const ends = kafka.published.filter((event) => event.type === 'SessionClosed' && event.assumed);
    expect(ends).toHaveLength(10);
    expect(fold(kafka.published)).toEqual(fold([...open, ...ends, ...own]));
    expect(await metric(registry, 'sockscope_proxy_sessions_crashed_total')).toBe(10);
  });

  it('takes no session whose start has no room, however many begin at once', async () => {
    const kafka = fakeKafka();
    const { pipeline, registry } = await run(tempDir(), kafka, { spool_max_bytes: 1_048_576 });
    kafka.state.isAway = true;
    for (let seed = 1; pipeline.spool.bytes < 880_000; seed += 1) {
      for (const event of someLogs(1, true, seed).flat()) pipeline.emit(partsOf(event));
      pipeline.swept();
    }
    const [[started] = []] = someLogs(1);
    if (started?.type !== 'SessionStarted') throw new Error('no start');
    const dest_host = 'x'.repeat(1_000);
    while (pipeline.accepting) pipeline.later(() => partsOf({ ...started, dest_host }));
    pipeline.swept();
    expect(await metric(registry, 'sockscope_proxy_events_dropped_total')).toBe(0);
    kafka.state.isAway = false;
  });

  it('loses one event at most by a defect that keeps it from being made', async () => {
    const kafka = fakeKafka();
    const { pipeline } = await run(tempDir(), kafka);
    const [first, second, third] = someLogs(3).map(([started]) => started);
    if (first === undefined || second === undefined || third === undefined) throw new Error('none');
    pipeline.later(() => partsOf(first));
    pipeline.later(() => {
      throw new Error('a defect');
    });
    pipeline.later(() => partsOf(second));
    expect(() => {
      pipeline.swept();
    }).toThrow('a defect');
    pipeline.emit(partsOf(third));
    await pipeline.stop();
    expect(kafka.published.map(({ session_id }) => session_id)).toEqual(
      [first, second, third].map(({ session_id }) => session_id),
    );
  });

  it('drops and counts events instead with that policy', async () => {
    const kafka = fakeKafka();
    const { pipeline, registry } = await run(tempDir(), kafka, {
      spool_max_bytes: 1_048_576,
      full_policy: 'drop',
    });
    kafka.state.isAway = true;
    const events = someLogs(2_000).flat();
    for (const event of events) pipeline.emit(partsOf(event));
    await vi.waitFor(async () => {
      expect(await metric(registry, 'sockscope_proxy_events_dropped_total')).toBeGreaterThan(0);
    }, 60_000);
    expect(pipeline.accepting).toBe(true);
    kafka.state.isAway = false;
    await pipeline.stop();
    const total = (name: string): Promise<number> => metric(registry, name);
    expect(
      kafka.published.length +
        (await total('sockscope_proxy_events_dropped_total')) +
        (await total('sockscope_proxy_events_superseded_total')),
    ).toBe(events.length);
  });

  it('keeps permanently refused events beside the spool, counts them, and continues', async () => {
    const dir = tempDir();
    const kafka = fakeKafka();
    const { pipeline, registry } = await run(dir, kafka);
    const logs = someLogs(10);
    const bad = logs[3]?.[0]?.session_id;
    kafka.state.refuses = (event) => event.session_id === bad;
    for (const event of logs.flat()) pipeline.emit(partsOf(event));
    await pipeline.stop();
    expect(new Set(kafka.published.map((e) => e.session_id)).size).toBe(9);
    expect(fold([...kafka.published, ...keptIn(dir)])).toEqual(fold(logs.flat()));
    expect(await metric(registry, 'sockscope_proxy_events_refused_total')).toBeGreaterThan(0);
  });

  it('a lone event that Kafka refuses waits, until another one shows that the topic takes events', async () => {
    const dir = tempDir();
    const kafka = fakeKafka();
    const { pipeline } = await run(dir, kafka);
    const [[bad] = [], good = []] = someLogs(2);
    if (bad === undefined) throw new Error('no event');
    kafka.state.refuses = (event) => event.session_id === bad.session_id;
    pipeline.emit(partsOf(bad));
    await vi.waitFor(() => {
      expect(pipeline.health().detail).toContain('events accepts no event');
    }, 60_000);
    expect(keptIn(dir)).toEqual([]);
    for (const event of good) pipeline.emit(partsOf(event));
    await vi.waitFor(() => {
      expect(keptIn(dir)).toEqual([bad]);
    }, 60_000);
    await pipeline.stop();
    expect(fold(kafka.published)).toEqual(fold(good));
  });

  it('continues over memory while the log cannot be written, and loses nothing', async () => {
    const dir = tempDir();
    const kafka = fakeKafka();
    const { pipeline } = await run(dir, kafka);
    const [before = [], during = [], after = []] = someLogs(3);
    for (const event of before) pipeline.emit(partsOf(event));
    await vi.waitFor(() => {
      expect(kafka.published.length).toBeGreaterThan(0);
    }, 60_000);
    // Nobody can create the next file of the log.
    rmSync(join(dir, 'proxy-1', 'log'), { recursive: true });
    const filler = someLogs(900, true, 9).flat();
    for (const event of [...filler, ...during]) pipeline.emit(partsOf(event));
    const last = during[0]?.session_id;
    await vi.waitFor(() => {
      expect(kafka.published.some((event) => event.session_id === last)).toBe(true);
    }, 60_000);
    mkdirSync(join(dir, 'proxy-1', 'log'));
    for (const event of after) pipeline.emit(partsOf(event));
    await pipeline.stop();
    expect(fold(kafka.published)).toEqual(fold([...before, ...filler, ...during, ...after]));
  });

  it('does not start on the folder of a running proxy', async () => {
    const dir = tempDir();
    const holder = await run(dir, fakeKafka());
    const second = run(dir, fakeKafka());
    await expect(second).rejects.toMatchObject({ code: 'spool_unusable' });
    await holder.pipeline.stop();
  });

  it('that is stopped while its spool is being opened stops at once', async () => {
    const pipeline = createEventPipeline(eventsConfig.parse({ spool_dir: tempDir() }), {
      kafka: kafkaConfig.parse({}),
      logger: createLogger('test', { level: 'silent' }),
      registry: new Registry(),
      proxyId: 'proxy-1',
      // A spool so large that it never opens.
      startBackend: () => ({ post: () => undefined, terminate: () => undefined }),
    });
    void pipeline.start();
    const startedMs = performance.now();
    await pipeline.stop();
    expect(performance.now() - startedMs).toBeLessThan(9_000);
  });

  it('does not start if the folder cannot be created', async () => {
    const dir = tempDir();
    writeFileSync(join(dir, 'file'), '');
    mkdirSync(join(dir, 'other'));
    await expect(run(join(dir, 'file'), fakeKafka())).rejects.toMatchObject({
      code: 'spool_unusable',
    });
  });
});
