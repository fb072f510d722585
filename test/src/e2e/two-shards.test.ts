/** Longer than 400 lines: all tests use two servers of ClickHouse, which take seconds to start. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pickFreePort, startClickHouse, startKafka } from '@sockscope/local';
import type { ClickHouseServer, KafkaBroker } from '@sockscope/local';
import { createLogger } from '@sockscope/runtime';
import { createKafkaAdmin, createKafkaProducer, kafkaConfig } from '@sockscope/runtime/kafka';
import { cloudEventHeaders } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IS_FULL } from '../chaos/support/site.js';
import { SMALL_TABLES } from '../support/clickhouse-settings.js';
import { startQuery } from '../support/query-process.js';
import { INGEST } from '../support/service-process.js';

const TOPIC = 'two-shards';
const SESSIONS = 400;
/** Each hour is summed on its own. */
const HOURS = 4;
/** Sunday evening: the data reaches into Monday, so two days and two weeks have sums. */
const START_MS = Date.parse('2026-05-03T21:00:00.000Z');
const WAIT_MS = 180_000;
const HOUR_MS = 3_600_000;

let dir: string;
let kafka: KafkaBroker;
const shards: ClickHouseServer[] = [];
const processes: { stop(): Promise<void> }[] = [];

/** Both servers know both shards. No Keeper and no replicas: each server gets its DDL from us. */
async function startShards(): Promise<void> {
  const ports = [await pickFreePort(), await pickFreePort()];
  const config = join(dir, 'cluster.xml');
  const shard = (port: number) =>
    `<shard><replica><host>127.0.0.1</host><port>${port}</port></replica></shard>`;
  await writeFile(
    config,
    `<clickhouse><remote_servers><pair>${ports.map(shard).join('')}</pair></remote_servers></clickhouse>`,
  );
  shards.push(
    ...(await Promise.all(
      ports.map((tcpPort, index) =>
        startClickHouse({
          dataDir: join(dir, `shard-${index}`),
          tcpPort,
          configFile: config,
          memoryMiB: 2_048,
          settings: SMALL_TABLES,
        }),
      ),
    )),
  );
}

/** The two databases that get the same events: one on one node, one over both. */
const SINGLE = { CLICKHOUSE_DATABASE: 'single', KAFKA_GROUP_ID: 'single' };
const PAIR = {
  CLICKHOUSE_DATABASE: 'pair',
  KAFKA_GROUP_ID: 'pair',
  CLICKHOUSE_CLUSTER: 'pair',
  CLICKHOUSE_CLUSTER_REPLICATED: 'false',
  CLICKHOUSE_CLUSTER_DDL: 'each_node',
};
/** The generated events have any time, so no table may expire them. */
const FOR_GOOD = {
  RETENTION_TRAFFIC: '0',
  RETENTION_EVENTS: '0',
  RETENTION_PAIRS_HOURS: '0',
};

function ingestEnv(url: string, env: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'] ?? '',
    KAFKA_BROKERS: kafka.address,
    KAFKA_TOPIC: TOPIC,
    CLICKHOUSE_URL: url,
    INGEST_OPS_LISTEN: '127.0.0.1:0',
    // It runs to the end: a shard of ClickHouse 26.7 may die of a client that leaves a question about both.
    INGEST_ROLLUP_INTERVAL: '500ms',
    INGEST_ROLLUP_SHARE: '100',
    INGEST_ROLLUP_QUIET: '0s',
    // Both would find the open ones of long ago lost, each when it looks.
    INGEST_LOST_INTERVAL: '1h',
    ...FOR_GOOD,
    ...env,
  };
}

/** `migrate` runs to its end; the service runs until the test's end. */
async function ingest(
  url: string,
  env: Readonly<Record<string, string>>,
  ...args: string[]
): Promise<void> {
  const child = spawn(process.execPath, [INGEST, ...args], {
    env: ingestEnv(url, env),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  if (args.length > 0) {
    expect(await exited).toBe(0);
    return;
  }
  processes.push({
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  });
}

/** A few hundred sessions have signals with these. */
const LOW_THRESHOLDS = {
  QUERY_SIGNAL_SHARED_NETWORKS: '2',
  QUERY_SIGNAL_SCAN_HOSTS: '2',
  QUERY_SIGNAL_SCAN_PORTS: '2',
  QUERY_SIGNAL_SCAN_FAILED_PERCENT: '1',
  QUERY_SIGNAL_MAIL_SESSIONS: '2',
  QUERY_SIGNAL_BEACON_STARTS: '3',
  QUERY_SIGNAL_BEACON_SPREAD_PERCENT: '100',
};

/** The parts of a top list's cursor but the last one, which is the time of the first page. */
function withoutTime(cursor: unknown): unknown {
  if (typeof cursor !== 'string') return cursor;
  return (JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]).slice(0, -1);
}

/** Starts the query service before one of the databases. Returns how to ask it, without the times of its answers. */
async function query(url: string, database: string): Promise<(path: string) => Promise<unknown>> {
  const service = await startQuery(url, {
    CLICKHOUSE_DATABASE: database,
    LOG_LEVEL: 'error',
    ...LOW_THRESHOLDS,
  });
  processes.push(service);
  return async (path) => {
    const response = await fetch(`${service.api}/api/v1/${path}`);
    // Times of the request and of storing are not compared.
    const answer: unknown = JSON.parse(await response.text(), (name, value: unknown) => {
      if (name === 'next_cursor' && path.startsWith('top/')) return withoutTime(value);
      return ['as_of', 'rate_window_ms', 'least_delay_ms'].includes(name) ? undefined : value;
    });
    return { code: response.status, answer };
  };
}

async function ask(shard: number, sql: string): Promise<string> {
  const server = shards[shard];
  if (server === undefined) throw new Error('no such shard');
  const response = await fetch(server.url, {
    method: 'POST',
    body: sql,
    // A server may close a connection that was idle just when it is taken again.
    headers: { connection: 'close' },
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text.trim();
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const endMs = Date.now() + WAIT_MS; !(await condition());) {
    if (Date.now() > endMs) throw new Error(`not in time: ${what}`);
    await delay(100);
  }
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sockscope-shards-'));
  [kafka] = await Promise.all([startKafka({ dataDir: join(dir, 'kafka') }), startShards()]);
  const config = kafkaConfig.parse({ brokers: [kafka.address] });
  const logger = createLogger('test', { level: 'fatal' });
  const admin = createKafkaAdmin(config, { logger, role: 'test' });
  await admin.ensureTopic({ name: TOPIC, partitions: 3, replicationFactor: 1 });
  await admin.stop();
  const producer = createKafkaProducer(config, { logger, role: 'test' });
  const random = seededRandom(7);
  const events = Array.from({ length: SESSIONS }, (_, i) =>
    sessionLog({
      random,
      startMs: START_MS + Math.floor(random() * HOURS * HOUR_MS),
      // Some are old enough for `long_sessions`.
      ...(i % 16 === 1 ? { silentMs: HOUR_MS } : {}),
      ...(i % 4 === 0 ? { user: 'scanner', closeReason: 'connect_failed' as const } : {}),
    }),
  ).flat();
  await producer.send(
    TOPIC,
    events.map((event) => ({
      key: event.session_id,
      value: JSON.stringify(event),
      headers: cloudEventHeaders(event),
    })),
    AbortSignal.timeout(120_000),
  );
  producer.stop();

  const [first, second] = shards;
  if (first === undefined || second === undefined) throw new Error('two shards are needed');
  await ingest(first.url, SINGLE, 'migrate');
  await ingest(first.url, PAIR, 'migrate');
  await ingest(second.url, PAIR, 'migrate');
  await ingest(first.url, SINGLE);
  // The second node takes the events, the first one is asked: each serves the whole.
  await ingest(second.url, PAIR);
  const count = `SELECT countDistinct(session_id, seq) FROM`;
  for (const database of ['single', 'pair']) {
    await until(
      `all events in ${database}`,
      async () => (await ask(0, `${count} ${database}.session_events`)) === String(events.length),
    );
    await until(
      `rollups of ${database}`,
      async () =>
        Number(await ask(0, `SELECT max(finished) > 0 FROM ${database}.ingest_rollup_buckets`)) >
          0 &&
        (await ask(
          0,
          `SELECT count() FROM (SELECT 1 FROM ${database}.ingest_rollup_buckets
            GROUP BY span, bucket, writer HAVING max(changed_through) > max(summed_through))`,
        )) === '0',
    );
  }
});

afterAll(async () => {
  await Promise.all(processes.map((each) => each.stop()));
  await Promise.all([...shards.map((shard) => shard.stop()), kafka.stop()]);
  await rm(dir, { recursive: true, force: true });
});

interface Known {
  readonly session_id: string;
  readonly user: string;
  readonly dest_host: string;
  readonly started_at: string;
}

/** The tables of both databases, and their columns that do not depend on the time of storing. */
const EVERYTHING = [
  ['sessions', '*'],
  ['sessions_by_user', '*'],
  ['sessions_by_destination', '*'],
  ['long_sessions', '*'],
  ['session_traffic_1m', '*'],
  ['session_events', '* EXCEPT ingested_at'],
  ['rollup_1h', '* EXCEPT computed_at'],
  ['rollup_1d', '* EXCEPT computed_at'],
  ['rollup_1w', '* EXCEPT computed_at'],
  ['rollup_pairs_1h', '* EXCEPT computed_at'],
  ['rollup_pairs_1d', '* EXCEPT computed_at'],
  ['ended_sessions', '*'],
] as const;

/** Something that is counted, or a column of it. */
const FIGURE = /"(?:sessions|bytes|packets|unique)_\w+":(?:\d+|\[[\d,]*\])/g;

const contentsOf = (database: string, table: string, columns: string) =>
  `SELECT count(), sum(cityHash64(*)) FROM (SELECT ${columns} FROM ${database}.${table} FINAL)`;

describe('two shards', () => {
  it.each(EVERYTHING)(
    'hold in %s the rows of one node, whichever shard is asked',
    async (table, columns) => {
      const contents = (database: string) => contentsOf(database, table, columns);
      const single = await ask(0, contents('single'));
      expect(Number(single.split('\t')[0])).toBeGreaterThan(0);
      expect(await ask(0, contents('pair'))).toBe(single);
      expect(await ask(1, contents('pair'))).toBe(single);
    },
  );

  it('share the sessions between them', async () => {
    const counts = await Promise.all(
      [0, 1].map((shard) => ask(shard, 'SELECT count() FROM pair.sessions_local FINAL')),
    );
    expect(Number(counts[0]) + Number(counts[1])).toBe(SESSIONS);
    for (const count of counts) expect(Number(count)).toBeGreaterThan(SESSIONS / 4);
  });

  it('answer with the same page', async () => {
    const page = (database: string) =>
      `SELECT session_id, started_at, user, status, bytes_sent FROM ${database}.sessions FINAL ORDER BY started_at DESC, session_id DESC LIMIT 50`;
    expect(await ask(1, page('pair'))).toBe(await ask(0, page('single')));
  });

  it('answer every question as one node does', async () => {
    const [first, second] = shards;
    if (first === undefined || second === undefined) throw new Error('two shards are needed');
    const [single, pair] = await Promise.all([
      query(first.url, 'single'),
      query(second.url, 'pair'),
    ]);
    const range = 'from=2026-05-03T20:10:20Z&to=2026-05-04T05:30:00Z';
    const page = (await single('sessions?limit=1&status=closed')) as { answer: { items: Known[] } };
    const [known] = page.answer.items;
    if (known === undefined) throw new Error('a closed session is needed');
    const user = encodeURIComponent(known.user);
    const host = encodeURIComponent(known.dest_host);
    const filters = ['', '&status=failed', `&user=${user}`, `&user=${user}&dest_port=443`];
    // Each report with one filter after the other; with SOCKSCOPE_CHAOS=full with all of them.
    let turn = 0;
    const withFilters = (report: string) =>
      IS_FULL
        ? filters.map((filter) => `${report}${filter}`)
        : [`${report}${filters[turn++ % filters.length] ?? ''}`];
    const paths = [
      `sessions?limit=1000`,
      `sessions?user=${user}`,
      `sessions?dest_host=${host}&sort=bytes`,
      `sessions?in=open&from=2026-05-03T22:00:00Z&min_bytes=100&source_ip=::ffff:0:0/96`,
      `sessions/${known.session_id}`,
      `sessions/${known.session_id}/events`,
      `users/${user}?${range}`,
      `destinations/${host}?${range}`,
      ...[
        'users',
        'destinations',
        'destination-addresses',
        'egress-addresses',
        'sources',
        'ports',
        'protocols',
        'proxies',
        'acl-rules',
        'close-reasons',
        'statuses',
      ].flatMap((top) => withFilters(`top/${top}?${range}&limit=100`)),
      ...[
        `flows?${range}`,
        `traffic?${range}`,
        `traffic?${range}&split=status`,
        `traffic?${range}&split=user&interval=30m`,
      ].flatMap(withFilters),
      `stats?${range}`,
      'sessions/active?limit=1000',
      ...['shared_account', 'scan', 'mail', 'beacon'].map((kind) => `signals/${kind}?${range}`),
      `explain?${range}&measure=bytes`,
      `explain?${range}&measure=bytes&protocol=tcp`,
      `lookup?dest_host=${host}&time=${known.started_at}`,
    ];
    let findings = 0;
    for (const path of paths) {
      const expected = await single(path);
      if (path.startsWith('signals/'))
        findings += JSON.stringify(expected).split('sessions_url').length - 1;
      expect(expected, `${path} ${JSON.stringify(expected)}`).toMatchObject({ code: 200 });
      expect(await pair(path), path).toEqual(expected);
    }
    expect(findings).toBeGreaterThan(0);
  });

  it('answer an edge from slices as one node does, and not from one that has changed', async () => {
    const [first, second] = shards;
    if (first === undefined || second === undefined) throw new Error('two shards are needed');
    const hourS = (Math.floor(Date.now() / HOUR_MS) - 1) * 3_600;
    const [users, finished] = [30, 1_000];
    for (const database of ['single', 'pair']) {
      // Rows of a version that is not finished any more have other figures.
      for (const version of [finished - 1, finished]) {
        await ask(
          0,
          `INSERT INTO ${database}.rollup_10m (dimension, bucket, key, sessions_started, bytes_sent, computed_at)
            SELECT 'user', toDateTime(${hourS} + 600 * (1 + number % 3), 'UTC'), concat('sliced-', toString(intDiv(number, 3))),
              ${finished + 1 - version}, number, fromUnixTimestamp64Micro(${version}, 'UTC')
            FROM numbers(${3 * users}) SETTINGS distributed_foreground_insert = 1`,
        );
      }
      await ask(
        0,
        `INSERT INTO ${database}.ingest_rollup_buckets
            (span, bucket, writer, changed_through, slices_changed, summed_through, slices_summed, slices_finished)
          SELECT 'hour', toDateTime(${hourS}, 'UTC'), generateUUIDv4(), 3, map(1, 1, 2, 1, 3, 3), 3, map(1, 1, 2, 1, 3, 2),
            map(1, ${finished}, 2, ${finished}, 3, ${finished})
          SETTINGS distributed_foreground_insert = 1`,
      );
    }
    const asked = await Promise.all([query(first.url, 'single'), query(second.url, 'pair')]);
    const path = `top/users?from=${(hourS + 600) * 1_000}&to=${(hourS + 2_400) * 1_000}&limit=100`;
    const [single, pair] = await Promise.all(asked.map((each) => each(path)));
    expect(single).toMatchObject({ code: 200, answer: { total: { sessions_started: 2 * users } } });
    expect(pair).toEqual(single);
  });

  it('hold each event and session once after each node was rebuilt from the topic', async () => {
    for (const [index, { url }] of shards.entries()) {
      await ask(index, 'TRUNCATE TABLE pair.sessions_local SYNC');
      // No event comes meanwhile, so there is no insert to wait for.
      await ingest(url, { ...PAIR, INGEST_INSERT_TIMEOUT: '100ms' }, 'rebuild', '--from', 'topic');
    }
    for (const [table, columns] of EVERYTHING.slice(0, 5)) {
      const single = await ask(0, contentsOf('single', table, columns));
      expect(await ask(1, contentsOf('pair', table, columns))).toBe(single);
    }
  });

  // It waits for inserts that may be under way.
  it.runIf(IS_FULL)(
    'forget a person by one command that names the other nodes, and keep everybody else',
    async () => {
      const name = await ask(
        0,
        'SELECT hex(user) FROM single.sessions GROUP BY user ORDER BY count() DESC, user LIMIT 1',
      );
      const columnOf = (table: string) => (/^rollup_1[hdw]$/.test(table) ? 'key' : 'user');
      const traces = (index: number) =>
        ask(
          index,
          EVERYTHING.map(
            ([table]) =>
              `SELECT '${table}' FROM pair.${table}_local WHERE ${columnOf(table)} = unhex('${name}') LIMIT 1`,
          ).join(' UNION ALL '),
        );
      for (const index of shards.keys()) expect(await traces(index)).toContain('sessions');
      const user = Buffer.from(name, 'hex').toString();
      const [first, ...further] = shards.map(({ url }) => url);
      const nodes = ['--node', ...further];
      const env = { ...PAIR, INGEST_INSERT_TIMEOUT: '100ms' };
      await ingest(first ?? '', env, 'forget', '--user', user, ...nodes);
      for (const index of shards.keys()) expect(await traces(index)).toBe('');
      for (const [table, columns] of EVERYTHING.filter(([each]) => columnOf(each) === 'user')) {
        const others = (index: number, database: string) =>
          ask(
            index,
            `SELECT count(), sum(cityHash64(*)) FROM (
            SELECT ${columns} FROM ${database}.${table} FINAL WHERE user != unhex('${name}'))`,
          );
        expect([table, await others(1, 'pair')]).toEqual([table, await others(0, 'single')]);
      }
      expect(
        await ask(
          0,
          `SELECT sum(sessions_started) FROM pair.rollup_1h FINAL WHERE dimension = 'total'`,
        ),
      ).toBe(await ask(1, 'SELECT count() FROM pair.sessions FINAL'));
    },
  );

  it('show no row past its retention, from any table or copy, while the shards still store it', async () => {
    const second = shards[1] ?? expect.unreachable();
    const dayMs = 24 * HOUR_MS;
    const days = Math.floor((Date.now() - START_MS - HOURS * HOUR_MS) / dayMs) - 1;
    expect(days).toBeGreaterThan(1);
    const known = await ask(
      0,
      `SELECT user, dest_host, session_id FROM single.sessions FINAL
        WHERE status = 'closed' AND user IN (SELECT user FROM pair.sessions_local) LIMIT 1`,
    );
    const [user = '', host = '', id = ''] = known.split('\t').map(encodeURIComponent);
    const expiring = [
      ...EVERYTHING.map(([table]) => table),
      'rollup_sketches_1h',
      'rollup_sketches_1d',
    ];
    for (const index of shards.keys()) {
      await ask(index, 'SYSTEM STOP TTL MERGES');
      for (const table of expiring) {
        const hasStart = !table.startsWith('rollup') && table !== 'session_traffic_1m';
        await ask(
          index,
          `ALTER TABLE pair.${table}_local
            MODIFY TTL toDateTime(${hasStart ? 'started_at' : 'bucket'}) + toIntervalDay(${days})
            SETTINGS materialize_ttl_after_modify = 0`,
        );
      }
    }
    const kept = crypto.randomUUID();
    await ask(
      0,
      `INSERT INTO pair.sessions
        SELECT * REPLACE (toUUID('${kept}') AS session_id, now64(3) AS started_at, 'kept' AS user, 'kept.example' AS dest_host)
        FROM single.sessions LIMIT 1 SETTINGS distributed_foreground_insert = 1`,
    );
    const pair = await query(second.url, 'pair');
    const range = `from=${new Date(START_MS).toISOString()}`;
    expect(await pair(`sessions?${range}&limit=1000`)).toMatchObject({
      code: 200,
      answer: { items: [{ session_id: kept }] },
    });
    const then = `${range}&to=${new Date(START_MS + (HOURS + 1) * HOUR_MS).toISOString()}`;
    for (const path of [
      `sessions?${then}&user=${user}`,
      `sessions?${then}&dest_host=${host}&sort=bytes`,
      `top/users?${then}`,
      `top/destinations?${then}`,
      `flows?${then}`,
      'sessions/active',
    ]) {
      expect(await pair(path), path).toMatchObject({ code: 200, answer: { items: [] } });
    }
    for (const path of [`stats?${then}`, `traffic?${then}`]) {
      const figures = JSON.stringify(await pair(path)).match(FIGURE) ?? [];
      expect(figures.length).toBeGreaterThan(5);
      expect(figures.filter((each) => /:.*[1-9]/.test(each))).toEqual([]);
    }
    for (const path of [`sessions/${id}`, `sessions/${id}/events`]) {
      expect(await pair(path), path).toMatchObject({ code: 404 });
    }
    for (const table of expiring) {
      expect(Number(await ask(0, `SELECT count() FROM pair.${table}`))).toBeGreaterThan(1);
    }
  });
});
