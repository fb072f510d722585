/** Longer than 400 lines: all streams follow one database and one server, which take seconds to start. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import type { SessionEvent } from '@sockscope/schemas';
import type { LiveWindow, StreamCounters, StreamSession } from '@sockscope/schemas/api';
import { liveWindow, streamCounters, streamSession } from '@sockscope/schemas/api';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { createTestApp } from '../testing/app.js';
import type { TestApp, TestSettings } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { insertBatch } from '../testing/load.js';
import { makeEvents, worldOf } from '../testing/world.js';
import { POLL_ROWS_MAX } from './config.js';
import { positionOf } from './event.js';

// Old events are no news.
const NOW_MS = Date.now();

let database: TestDatabase;
let api: TestApp;
let base: string;
let seed = 1_000;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

async function startApp(stream: TestSettings['stream'] = {}): Promise<void> {
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS, settings: { stream } });
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  base = `http://127.0.0.1:${(api.app.server.address() as AddressInfo).port}`;
}

beforeEach(async () => {
  if (api !== undefined) await api.close();
  await startApp();
});

interface Frame {
  readonly event: string;
  readonly id: string | null;
  readonly data: unknown;
}

/** A client of the stream that reads frames one by one. */
async function listen(
  parameters = '',
  headers: Record<string, string> = {},
  path: 'stream' | 'stream/active' = 'stream',
) {
  const gone = new AbortController();
  const response = await fetch(`${base}/api/v1/${path}?${parameters}`, {
    headers,
    signal: gone.signal,
  });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
  const frames = readFrames(response);
  async function next(): Promise<Frame | null> {
    const { value, done } = await frames.next();
    return done === true ? null : value;
  }
  return {
    next,
    close: () => gone.abort(),
    /** Reads until enough frames of the kind have come. */
    async take(count: number, accept: (frame: Frame) => boolean = isSession): Promise<Frame[]> {
      const taken: Frame[] = [];
      while (taken.length < count) {
        const frame = await next();
        if (frame === null) throw new Error(`ended after ${taken.length} of ${count} frames`);
        if (accept(frame)) taken.push(frame);
      }
      return taken;
    },
  };
}

const isSession = (frame: Frame) => ['started', 'changed', 'closed'].includes(frame.event);
const sessionOf = (frame: Frame): StreamSession => streamSession.parse(frame.data);
const nameOf = (frame: Frame) => `${sessionOf(frame).session_id}/${sessionOf(frame).seq}`;

async function* readFrames(response: Response): AsyncGenerator<Frame, void, undefined> {
  if (response.body === null) return;
  let text = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (;;) {
      const end = text.indexOf('\n\n');
      if (end < 0) break;
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = (name: string) =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? null;
      const event = field('event');
      if (event !== null)
        yield { event, id: field('id'), data: JSON.parse(field('data') ?? 'null') };
    }
  }
}

/** Events that no other test has stored. */
function someEvents(sessions: number): SessionEvent[] {
  seed += 1;
  return makeEvents({ seed, sessions, fromMs: Date.now() - 2_000, toMs: Date.now() });
}

const eventName = (event: SessionEvent) => `${event.session_id}/${event.seq}`;

describe('stream', () => {
  it('gives every event that is stored while it is open, once, as the session it left', async () => {
    const events = someEvents(40);
    const client = await listen('type=started&type=changed&type=closed');
    await client.take(0);
    const half = Math.floor(events.length / 2);
    await insertBatch(database.clickhouse, events.slice(0, half));
    await insertBatch(database.clickhouse, events.slice(0, 5));
    await insertBatch(database.clickhouse, events.slice(half));
    const frames = await client.take(events.length);
    expect(new Set(frames.map(nameOf))).toEqual(new Set(events.map(eventName)));
    const last = events.at(-1) ?? expect.unreachable();
    const frame = frames.find((each) => nameOf(each) === eventName(last));
    expect(frame?.data).toMatchObject({
      session_id: last.session_id,
      user: last.user,
      dest_host: last.dest_host,
      bytes_sent: last.bytes_sent,
      updated_at: last.occurred_at,
    });
    client.close();
  });

  it('gives all of an insert that is larger than one poll, and continues after it', async () => {
    await api.close();
    await startApp({ buffer_max_bytes: 100_000_000 });
    const events = someEvents(2_000);
    expect(events.length).toBeGreaterThan(POLL_ROWS_MAX);
    const client = await listen('type=started&type=changed&type=closed');
    // One insert: all rows are stamped with the same time.
    await insertBatch(database.clickhouse, events);
    const frames = await client.take(events.length);
    expect(new Set(frames.map(nameOf))).toEqual(new Set(events.map(eventName)));
    const later = someEvents(3);
    await insertBatch(database.clickhouse, later);
    const [next] = await client.take(1);
    expect(later.map(eventName)).toContain(nameOf(next ?? expect.unreachable()));
    client.close();
  });

  it('begins with the present, even if much was stored just before', async () => {
    const before = someEvents(2_000);
    expect(before.length).toBeGreaterThan(POLL_ROWS_MAX);
    await insertBatch(database.clickhouse, before);
    const client = await listen('type=started&type=changed&type=closed');
    const news = someEvents(3);
    await insertBatch(database.clickhouse, news);
    const frames = await client.take(news.length);
    expect(new Set(frames.map(nameOf))).toEqual(new Set(news.map(eventName)));
    client.close();
  });

  it('passes the events that the filters of sessions pass', async () => {
    const events = someEvents(60);
    const client = await listen('user=user-0&user=user-1&dest_port=443&status=closed');
    await insertBatch(database.clickhouse, events);
    const expected = events.filter(
      (event) =>
        ['user-0', 'user-1'].includes(event.user) &&
        event.dest_port === 443 &&
        event.type === 'SessionClosed' &&
        event.status === 'closed',
    );
    expect(expected.length).toBeGreaterThan(0);
    const frames = await client.take(expected.length);
    expect(new Set(frames.map(nameOf))).toEqual(new Set(expected.map(eventName)));
    client.close();
  });

  it('continues after Last-Event-ID, in the same process and in another', async () => {
    const first = someEvents(20);
    const client = await listen('type=started&type=changed&type=closed');
    await insertBatch(database.clickhouse, first);
    const frames = await client.take(first.length);
    const middle = frames[Math.floor(frames.length / 2)];
    const id = middle?.id ?? expect.unreachable();
    expect(positionOf(id)?.within).not.toBeNull();
    const after = new Set(
      frames.slice(frames.indexOf(middle ?? expect.unreachable()) + 1).map(nameOf),
    );

    const again = await listen('type=started&type=changed&type=closed', { 'last-event-id': id });
    const later = someEvents(5);
    await insertBatch(database.clickhouse, later);
    const resumed = await again.take(after.size + later.length);
    const wanted = new Set([...after, ...later.map(eventName)]);
    expect(new Set(resumed.map(nameOf))).toEqual(wanted);
    client.close();
    again.close();

    await api.close();
    await startApp();
    const elsewhere = await listen('type=started&type=changed&type=closed', {
      'last-event-id': id,
    });
    const seen = new Set<string>();
    while ([...wanted].some((name) => !seen.has(name))) {
      const [frame] = await elsewhere.take(1);
      seen.add(nameOf(frame ?? expect.unreachable()));
    }
    expect([...wanted].every((name) => seen.has(name))).toBe(true);
    elsewhere.close();
  });

  it('sends a gap if the position is too old', async () => {
    const client = await listen('', { 'last-event-id': '1000' });
    const [frame] = await client.take(1, (each) => each.event === 'gap');
    expect(frame?.data).toMatchObject({ from: '1970-01-01T00:00:01.000Z' });
    client.close();
  });

  it.each(['x', '1-2-3', '9'.repeat(40), '-1', `1' OR 1=1`])(
    'sends a gap if the position is invalid (%j)',
    async (id) => {
      expect(positionOf(id)).toBeNull();
      const client = await listen('', { 'last-event-id': id });
      const [frame] = await client.take(1, (each) => each.event === 'gap');
      expect(frame?.data).toMatchObject({ from: '1970-01-01T00:00:00.000Z' });
      client.close();
    },
  );

  it('sends the counters again and again', async () => {
    const client = await listen('type=counters');
    const frames = await client.take(2, (frame) => frame.event === 'counters');
    const counters: StreamCounters[] = frames.map((frame) => streamCounters.parse(frame.data));
    const [before] = counters;
    expect(before?.as_of).toBe(new Date(NOW_MS).toISOString());
    await insertBatch(
      database.clickhouse,
      someEvents(30).filter((event) => event.type === 'SessionStarted'),
    );
    for (;;) {
      const [frame] = await client.take(1, (each) => each.event === 'counters');
      const now = streamCounters.parse(frame?.data);
      if (now.sessions_open === (before?.sessions_open ?? 0) + 30) break;
    }
    client.close();
  });

  it('asks ClickHouse once for all listeners', async () => {
    const clients = await Promise.all(Array.from({ length: 10 }, () => listen('type=started')));
    const events = someEvents(10).filter((event) => event.type === 'SessionStarted');
    await insertBatch(database.clickhouse, events);
    await Promise.all(clients.map((client) => client.take(events.length)));
    const metrics = await api.registry.getMetricsAsJSON();
    const polls = metrics
      .find((metric) => metric.name === 'sockscope_query_sql_duration_seconds')
      ?.values.find(
        (value) =>
          'metricName' in value &&
          value.metricName === 'sockscope_query_sql_duration_seconds_count' &&
          value.labels['query'] === 'stored_since',
      )?.value;
    // One poll at a time, 50 ms apart: ten clients of their own would have made ten times as many.
    expect(polls).toBeGreaterThan(0);
    expect(api.registry.getSingleMetric('sockscope_query_stream_clients')).toBeDefined();
    clients.forEach((client) => {
      client.close();
    });
  });

  it('cuts a client off that does not read, and keeps serving the others', async () => {
    await api.close();
    await startApp({ buffer_max_bytes: 20_000 });
    const { port } = new URL(base);
    const slow = connect(Number(port), '127.0.0.1');
    await once(slow, 'connect');
    slow.write(
      'GET /api/v1/stream?type=changed&type=started&type=closed HTTP/1.1\r\nHost: localhost\r\n\r\n',
    );
    slow.pause();
    const quick = await listen('type=started');
    const read = new Set<string>();
    const reading = (async () => {
      for (let frame = await quick.next(); frame !== null; frame = await quick.next()) {
        if (isSession(frame)) read.add(nameOf(frame));
      }
    })().catch(() => undefined);
    const closed = once(slow, 'close');
    const cutOff = async () => {
      const metric = await api.registry
        .getSingleMetric('sockscope_query_stream_cut_off_total')
        ?.get();
      return metric?.values.some((value) => value.labels['cause'] === 'slow') ?? false;
    };
    const stored: string[] = [];
    while (!(await cutOff())) {
      const events = someEvents(300);
      stored.push(...events.filter((e) => e.type === 'SessionStarted').map(eventName));
      await insertBatch(database.clickhouse, events);
    }
    await vi.waitFor(
      () => {
        expect(stored.every((name) => read.has(name))).toBe(true);
      },
      { timeout: 60_000 },
    );
    slow.destroy();
    await closed;
    quick.close();
    await reading;
  });

  it('refuses more streams than are allowed with a 503', async () => {
    await api.close();
    await startApp({ clients_max: 1 });
    const client = await listen('type=started');
    const response = await fetch(`${base}/api/v1/stream`);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    await response.body?.cancel();
    client.close();
  });

  it('ends when the service stops', async () => {
    const client = await listen('type=started');
    const ended = client.next();
    await api.close();
    expect(await ended).toBeNull();
    await startApp();
  });

  it('refuses unknown parameters by name', async () => {
    const problem = await api.get<{ errors: { parameter: string }[] }>('/api/v1/stream?foo=1', 400);
    expect(problem.errors[0]?.parameter).toBe('foo');
  });
});

describe('stream/active', () => {
  const isWindow = (frame: Frame) => frame.event === 'window';
  const windowOf = (frame: Frame | undefined) => liveWindow.parse(frame?.data);

  async function until(
    client: Awaited<ReturnType<typeof listen>>,
    accept: (window: LiveWindow) => boolean,
  ): Promise<LiveWindow> {
    for (;;) {
      const [frame] = await client.take(1, isWindow);
      const window = windowOf(frame);
      if (accept(window)) return window;
    }
  }

  it('shows open sessions with recent events, with the sums of all, and follows changes', async () => {
    await database.clickhouse.command({ sql: 'TRUNCATE TABLE sessions' });
    const events = someEvents(60);
    const old = makeEvents({
      seed: 77,
      sessions: 20,
      fromMs: NOW_MS - 7_200_000,
      toMs: NOW_MS - 3_600_000,
    });
    await insertBatch(database.clickhouse, [...old, ...events]);
    const open = worldOf(events).sessions.filter((row) => row.status === 'active');
    expect(open.length).toBeGreaterThan(3);
    const client = await listen('limit=2&sort=bytes', {}, 'stream/active');
    const first = await until(client, () => true);
    const byBytes = open
      .map((row) => row.bytes_sent + row.bytes_received)
      .toSorted((a, b) => b - a);
    expect(first).toMatchObject({ total: open.length, every_ms: 1_000, truncated: false });
    expect(first.items.map((item) => item.bytes_sent + item.bytes_received)).toEqual(
      byBytes.slice(0, 2),
    );
    // Nothing was reported since the stream began: the rates come from the last minutes.
    expect(first.bytes_sent_per_second + first.bytes_received_per_second).toBeGreaterThan(0);
    const more = someEvents(40);
    await insertBatch(database.clickhouse, more);
    const added = worldOf(more).sessions.filter((row) => row.status === 'active');
    await until(client, ({ total }) => total === open.length + added.length);
    const user = open[0]?.user ?? '';
    const filtered = await listen(`user=${encodeURIComponent(user)}`, {}, 'stream/active');
    const own = await until(filtered, () => true);
    expect(own.total).toBe([...open, ...added].filter((row) => row.user === user).length);
    client.close();
    filtered.close();
  });

  it('does not hand out events that were old when they were stored', async () => {
    const client = await listen('type=started&type=changed&type=closed');
    const old = makeEvents({
      seed: 78,
      sessions: 5,
      fromMs: NOW_MS - 7_200_000,
      toMs: NOW_MS - 3_600_000,
    });
    await insertBatch(database.clickhouse, old);
    const fresh = someEvents(3);
    await insertBatch(database.clickhouse, fresh);
    const taken = await client.take(new Set(fresh.map(eventName)).size);
    const oldIds = new Set(old.map((event) => event.session_id));
    expect(taken.filter((frame) => oldIds.has(sessionOf(frame).session_id))).toEqual([]);
    client.close();
  });
});
