/** Longer than 400 lines: all tests use one running product, which takes seconds to start. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { pickFreePort } from '@sockscope/local';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type ApiSession, get, getSessions, metric } from '../support/api.js';
import { curl, type CurlReport, hasCurl, startCurl } from '../support/curl.js';
import { type Origin, startOrigin } from '../support/origin.js';
import {
  createProductSite,
  isAlive,
  type Product,
  type ProductSite,
  runProduct,
  startProduct,
} from '../support/product.js';
import { run } from '../support/programs.js';
import { prometheusProgram, promtoolProgram, startPrometheus } from '../support/prometheus.js';
import { readExpressions, readInfinityPanel } from '../support/watching.js';
import '../support/kafkajs-codecs.js';

const TOPIC = 'sockscope.session-events.v1';
/** The product's promise; other tests wait as long as a busy machine needs. */
const SHOWN_WITHIN_MS = 3_000;
/** A busy machine may be late once or twice, a defect is late each time. */
const SHOWN_TRIES = 20;
const WAIT = { timeout: 60_000, interval: 100 };

if (prometheusProgram === null || promtoolProgram === null) {
  console.warn(
    'prometheus or promtool is missing: rules and dashboards are not asked of a real one',
  );
}
if (!hasCurl) console.warn('e2e is skipped: curl is missing (Debian: apt-get install curl)');

describe.skipIf(!hasCurl)('the whole product, started by npm start', () => {
  let site: ProductSite;
  let product: Product;
  let origin: Origin;
  /** Everything that curl has done here, to compare sums with. */
  const reports: CurlReport[] = [];

  beforeAll(async () => {
    site = await createProductSite();
    origin = await startOrigin();
  });
  // Each test can run alone, and in any order: some of them end the product.
  beforeEach(async () => {
    if ((product as Product | undefined) === undefined || !isAlive(product.pid)) {
      product = await startProduct(site);
    }
  });
  afterAll(async () => {
    // Undefined if it did not start.
    if ((product as Product | undefined) !== undefined && isAlive(product.pid)) {
      product.pressCtrlC();
      await product.exited;
    }
    await origin.stop();
    await site.remove();
  });

  function url(path: string): string {
    return `http://127.0.0.1:${origin.port}${path}`;
  }

  async function request(...args: string[]): Promise<CurlReport> {
    const report = await curl(site.socks, ...args);
    reports.push(report);
    return report;
  }

  /** The session of a connection from this port of the client, once it has ended. */
  async function sessionOf(
    { local_port }: Pick<CurlReport, 'local_port'>,
    timeout = WAIT.timeout,
  ): Promise<ApiSession> {
    return vi.waitFor(
      async () => {
        const sessions = await getSessions(site.api);
        const found = sessions.find((each) => each.source_port === local_port);
        expect(found?.ended_at).toEqual(expect.any(String));
        return found as ApiSession;
      },
      { timeout, interval: 50 },
    );
  }

  test('a download is shown within 3 seconds with the bytes that curl counted', async () => {
    let inTime = false;
    for (let left = SHOWN_TRIES; left > 0 && !inTime; left -= 1) {
      const report = await request(url('/bytes/1234567'));
      expect(report).toMatchObject({ exitCode: 0, http_code: 200, size_download: 1_234_567 });
      const ended = Date.now();
      expect(await sessionOf(report)).toMatchObject({
        user: 'anonymous',
        source_ip: '127.0.0.1',
        dest_host: '127.0.0.1',
        dest_ip: '127.0.0.1',
        dest_port: origin.port,
        status: 'closed',
        acl_decision: 'allow',
        bytes_sent: report.size_request + report.size_upload,
        bytes_received: report.size_header + report.size_download,
      });
      inTime = Date.now() - ended <= SHOWN_WITHIN_MS;
    }
    expect(inTime).toBe(true);
  });

  test('an upload is counted as curl counts it', async () => {
    const report = await request('--data-binary', 'x'.repeat(100_000), url('/'));
    expect(report).toMatchObject({ http_code: 200, size_upload: 100_000 });
    expect(await sessionOf(report)).toMatchObject({
      bytes_sent: report.size_request + report.size_upload,
      bytes_received: report.size_header + report.size_download,
    });
  });

  test('a name that the client left to the proxy is shown as it was asked for', async () => {
    const report = await request(`http://localhost:${origin.port}/bytes/5`);
    expect(report).toMatchObject({ http_code: 200 });
    expect(await sessionOf(report)).toMatchObject({ dest_host: 'localhost', status: 'closed' });
  });

  test('a destination that refuses is a failed session', async () => {
    const unused = await startOrigin();
    await unused.stop();
    const report = await request(`http://127.0.0.1:${unused.port}/`);
    expect(report.exitCode).toBe(97);
    expect(await sessionOf(report)).toMatchObject({
      status: 'failed',
      close_reason: 'connect_failed',
      error_code: 'ECONNREFUSED',
      bytes_sent: 0,
      bytes_received: 0,
    });
  });

  test("the product's own ports are refused, though loopback is allowed", async () => {
    const own = [site.clickhouse, site.api, site.ingestOps, site.proxyOps, `http://${site.kafka}`];
    for (const address of own) {
      const report = await request(address);
      expect(report.exitCode, address).toBe(97);
      expect(await sessionOf(report)).toMatchObject({
        status: 'rejected_by_acl',
        close_reason: 'acl_rejected',
        acl_decision: 'block',
      });
    }
  });

  test('stats and top lists add up to the counts of curl', async () => {
    await request(url('/bytes/1000'));
    await request(`http://localhost:${origin.port}/bytes/1000`);
    const sent = reports.reduce((sum, each) => sum + each.size_request + each.size_upload, 0);
    const received = reports.reduce((sum, each) => sum + each.size_header + each.size_download, 0);
    // Sums follow the sessions within seconds, each question by itself; a busy machine takes longer.
    await vi.waitFor(async () => {
      const found = await get<{
        sessions_open: number;
        current: Record<string, number>;
        top_users: Record<string, unknown>[];
      }>(site.api, 'stats');
      expect(found.sessions_open).toBe(0);
      expect(found.current).toMatchObject({
        sessions_started: reports.length,
        bytes_sent: sent,
        bytes_received: received,
      });
      expect(found.top_users).toEqual([
        expect.objectContaining({ user: 'anonymous', bytes: sent + received }),
      ]);
    }, WAIT);
    await vi.waitFor(async () => {
      const users = await get<{ items: Record<string, unknown>[] }>(site.api, 'top/users');
      expect(users.items).toEqual([
        expect.objectContaining({ user: 'anonymous', bytes_sent: sent, bytes_received: received }),
      ]);
    }, WAIT);
    await vi.waitFor(async () => {
      const destinations = await get<{ items: { dest_host: string; bytes: number }[] }>(
        site.api,
        'top/destinations',
      );
      // Sessions that moved nothing are there, too.
      const moved = destinations.items.filter((each) => each.bytes > 0);
      expect(moved.map((each) => each.dest_host)).toEqual(['127.0.0.1', 'localhost']);
      expect(destinations.items.reduce((sum, each) => sum + each.bytes, 0)).toBe(sent + received);
    }, WAIT);
  });

  test('a session can be read alone and with its events', async () => {
    const { session_id: id } = await sessionOf(await request(url('/bytes/10')));
    expect(await get(site.api, `sessions/${id}`)).toMatchObject({ session_id: id });
    const events = await get<{ items: { type: string; seq: number }[] }>(
      site.api,
      `sessions/${id}/events`,
    );
    expect(events.items.map((event) => event.seq)).toEqual([0, 1]);
  });

  test('the egress address can be a filter, is exported, and is in the timeline', async () => {
    await sessionOf(await request(url('/bytes/10')));
    const peer = origin.peers.at(-1);
    const reached = `egress_ip=127.0.0.0/8&egress_port=${peer?.port ?? 0}`;
    const [session, ...others] = await getSessions(site.api, reached);
    expect(others).toEqual([]);
    expect(session).toMatchObject({ egress_ip: peer?.ip, egress_port: peer?.port });
    expect(await getSessions(site.api, 'egress_ip=192.0.2.0/24')).toEqual([]);
    const { items } = await get<{ items: Record<string, unknown>[] }>(
      site.api,
      `sessions/${session?.session_id ?? ''}/events`,
    );
    expect(items.map((event) => event['egress_port'])).toEqual([null, peer?.port]);
    const response = await fetch(`${site.api}/api/v1/sessions?${reached}&format=csv`);
    const [header = '', row = ''] = (await response.text()).split('\n');
    const column = header.replaceAll('"', '').split(',').indexOf('egress_port');
    expect(row.split(',')[column]).toBe(String(peer?.port));
  });

  test('a wrong or unknown parameter is a problem document that names it', async () => {
    for (const [query, name] of [
      ['limit=0', 'limit'],
      ['from=yesterday', 'from'],
      ['no_such=1', 'no_such'],
    ] as const) {
      const response = await fetch(`${site.api}/api/v1/sessions?${query}`);
      expect(response.status).toBe(400);
      expect(response.headers.get('content-type')).toContain('application/problem+json');
      expect(await response.text()).toContain(name);
    }
  });

  test('a long download is active with growing counters while it runs', async () => {
    const local_port = await pickFreePort();
    const download = startDrip(local_port);
    try {
      const active = async (): Promise<ApiSession | undefined> =>
        (await get<{ items: ApiSession[] }>(site.api, 'sessions/active')).items.find(
          (each) => each.source_port === local_port,
        );
      const first = await vi.waitFor(async () => {
        const session = await active();
        expect(session?.bytes_received).toBeGreaterThan(0);
        return session as ApiSession;
      }, WAIT);
      const later = await vi.waitFor(async () => {
        const session = await active();
        expect(session?.bytes_received).toBeGreaterThan(first.bytes_received);
        return session as ApiSession;
      }, WAIT);
      expect(later.session_id).toBe(first.session_id);
      const listed = await getSessions(site.api);
      expect(listed.find((each) => each.session_id === first.session_id)).toMatchObject({
        status: 'active',
        close_reason: null,
      });
    } finally {
      download.kill();
      await rememberDrip(local_port);
    }
    const ended = await sessionOf({ local_port });
    expect(ended).toMatchObject({ status: 'closed' });
    expect(['client_eof', 'client_reset']).toContain(ended.close_reason);
  });

  test('every hop has counted the same sessions', async () => {
    const hops = async () => ({
      accepted: await metric(site.proxyOps, 'sockscope_proxy_connections_accepted_total'),
      started: await metric(site.proxyOps, 'sockscope_proxy_sessions_started_total'),
      closed: await metric(site.proxyOps, 'sockscope_proxy_sessions_closed_total'),
      produced: await topicEnd(TOPIC),
      consumed: await metric(site.ingestOps, 'sockscope_ingest_records_total'),
      stored: await metric(site.ingestOps, 'sockscope_ingest_rows_total', {
        table: 'session_events',
      }),
      poison: await metric(site.ingestOps, 'sockscope_ingest_poison_records_total'),
    });
    await sessionOf(await request(url('/bytes/1')));
    const before = await hops();
    const count = 5;
    for (let i = 0; i < count; i += 1) await sessionOf(await request(url('/bytes/1000')));
    await vi.waitFor(async () => {
      const after = await hops();
      const events = after.produced - before.produced;
      // A start and an end each, and deltas of long sessions.
      expect(events).toBeGreaterThanOrEqual(2 * count);
      expect(after).toEqual({
        accepted: before.accepted + count,
        started: before.started + count,
        closed: before.closed + count,
        produced: before.produced + events,
        consumed: before.consumed + events,
        stored: before.stored + events,
        poison: before.poison,
      });
      expect(await metric(site.ingestOps, 'sockscope_ingest_lag_records')).toBe(0);
    }, WAIT);
    expect(await metric(site.proxyOps, 'sockscope_proxy_sessions_active')).toBe(0);
    expect(await metric(site.proxyOps, 'sockscope_proxy_spool_limit_bytes')).toBe(1024 ** 3);
    expect(
      await metric(site.queryOps, 'sockscope_query_http_request_duration_seconds_count'),
    ).toBeGreaterThan(0);
  });

  test('no metric names a user, an address or a destination', async () => {
    for (const ops of [site.proxyOps, site.ingestOps, site.queryOps]) {
      const text = await (await fetch(`${ops}/metrics`)).text();
      const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      expect(series.length).toBeGreaterThan(10);
      expect(series.filter((line) => !line.startsWith('sockscope_'))).toEqual([]);
      expect(series.filter((line) => /anonymous|127\.0\.0\.1|localhost/.test(line))).toEqual([]);
    }
  });

  test.skipIf(promtoolProgram === null)(
    'promtool finds no fault in the metrics of the three services',
    async () => {
      for (const ops of [site.proxyOps, site.ingestOps, site.queryOps]) {
        const input = await (await fetch(`${ops}/metrics`)).text();
        const { code, stderr } = await run(promtoolProgram ?? '', ['check', 'metrics'], { input });
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      }
    },
  );

  test.skipIf(prometheusProgram === null)(
    'a real Prometheus answers every expression of the rules and dashboards',
    async () => {
      const prometheus = await startPrometheus({
        'sockscope-proxy': site.proxyOps,
        'sockscope-ingest': site.ingestOps,
        'sockscope-query': site.queryOps,
      });
      try {
        await vi.waitFor(async () => {
          const unanswered: string[] = [];
          for (const { from, expr } of readExpressions()) {
            // Without TLS there is no certificate: see secure-kafka.test.ts.
            if (expr.includes('sockscope_certificate_')) continue;
            if ((await prometheus.ask(expr)).length === 0) unanswered.push(`${from}: ${expr}`);
          }
          expect(unanswered).toEqual([]);
          expect(await prometheus.failedRules()).toEqual([]);
        }, WAIT);
      } finally {
        await prometheus.stop();
      }
    },
  );

  test('the panel for Infinity asks a question that the API answers, with the columns that it names', async () => {
    const [target] = readInfinityPanel().targets;
    await sessionOf(await request(url('/bytes/10')));
    const from = new Date(Date.now() - 3_600_000).toISOString();
    const path = (target?.url ?? '')
      .replace('${__from:date:iso}', from)
      .replace('${__to:date:iso}', new Date().toISOString());
    const response = await fetch(`${site.api}${path}`);
    expect(response.status).toBe(200);
    const rows = ((await response.json()) as Record<string, Record<string, unknown>[]>)[
      target?.root_selector ?? ''
    ];
    expect(rows?.length).toBeGreaterThan(0);
    for (const { selector, type } of target?.columns ?? []) {
      expect(typeof rows?.[0]?.[selector], selector).toBe(type);
    }
  });

  test('poison events land in the dead-letter topic with a reason and stop nothing', async () => {
    const poison = [
      { key: 'k0', value: 'not json' },
      { key: 'k1', value: '{"type":"SessionStarted","schema_version":999}' },
      { key: 'k2', value: JSON.stringify({ type: 'SessionStarted', bytes_sent: 'many' }) },
      { key: 'k3', value: null },
      { key: 'k4', value: '[]' },
      { key: 'k5', value: Buffer.alloc(900_000, 0x7b) },
    ];
    const poisonBefore = await metric(site.ingestOps, 'sockscope_ingest_poison_records_total');
    const producer = kafka().producer();
    await producer.connect();
    await producer.send({ topic: TOPIC, messages: poison });
    await producer.disconnect();

    const found = await readAll(`${TOPIC}.dlq`, poison.length);
    for (const { key, value } of poison) {
      const record = found.find((each) => each.key?.toString() === key);
      expect(record, key).toBeDefined();
      expect(record?.value?.toString() ?? null).toBe(value === null ? null : String(value));
      const reason = record?.headers?.['sockscope_dlq_reason']?.toString() ?? '';
      expect(reason, key).not.toBe('');
      expect(record?.headers?.['sockscope_dlq_topic']?.toString()).toBe(TOPIC);
    }
    expect(await metric(site.ingestOps, 'sockscope_ingest_poison_records_total')).toBe(
      poisonBefore + poison.length,
    );
    const session = await sessionOf(await request(url('/bytes/77')));
    expect(session.bytes_received).toBeGreaterThan(77);
  });

  test('ingest killed with -9 in the middle leaves the same totals', async () => {
    const before = await product.children();
    const ingest = await ingestPid();
    expect(before).toContain(ingest);
    for (let i = 0; i < 60; i += 1) {
      await request(url(`/bytes/${i * 100}`));
      if (i === 20) process.kill(ingest, 'SIGKILL');
    }
    await product.waitForLine(/ingest has ended unexpectedly \(signal SIGKILL\)/, WAIT.timeout);
    await product.waitForLine(/ingest runs again/, WAIT.timeout);
    const sent = reports.reduce((sum, each) => sum + each.size_request + each.size_upload, 0);
    const received = reports.reduce((sum, each) => sum + each.size_header + each.size_download, 0);
    await vi.waitFor(async () => {
      const { current } = await get<{ current: Record<string, number> }>(site.api, 'stats');
      expect(current).toMatchObject({
        sessions_started: reports.length,
        bytes_sent: sent,
        bytes_received: received,
      });
    }, WAIT);
  });

  test('Ctrl-C stops everything in order, leaves no process behind and loses no history', async () => {
    const children = await product.children();
    expect(children).toHaveLength(5);
    const local_port = await pickFreePort();
    const download = startDrip(local_port);
    const ended = once(download, 'exit');
    await vi.waitFor(async () => {
      expect(await metric(site.proxyOps, 'sockscope_proxy_sessions_active')).toBe(1);
    }, WAIT);
    product.pressCtrlC();
    // npm repeats the signal for itself when all is done, if its shell does not stand aside.
    expect([0, 'SIGINT']).toContain(await product.exited);
    await ended;
    expect(product.lines.at(-1)).toBe('sockscope: stopped');
    const stops = product.lines.flatMap(
      (line) => /^sockscope: stopping (\w+) \.\.\.$/.exec(line)?.[1] ?? [],
    );
    expect(stops.slice(0, 3)).toEqual(['proxy', 'ingest', 'query']);
    expect(stops.slice(3).toSorted()).toEqual(['ClickHouse', 'Kafka']);
    expect(children.filter(isAlive)).toEqual([]);

    // The next start has all the history, the interrupted session among it.
    product = await startProduct(site);
    await rememberDrip(local_port);
    const session = await sessionOf({ local_port });
    expect(session).toMatchObject({ status: 'closed', close_reason: 'server_shutdown' });
    expect(session.bytes_received).toBeGreaterThan(0);
  });

  test('a second copy on the same data or ports is refused with a remedy', async () => {
    const same = runProduct(site);
    expect(await same.exited).toBe(1);
    expect(same.lines.join('\n')).toContain('LOCAL_DATA_DIR');
    const other = await createProductSite();
    const taken = runProduct({ ...site, env: { ...site.env, LOCAL_DATA_DIR: other.dataDir } });
    expect(await taken.exited).toBe(1);
    for (const name of ['PROXY_LISTEN', 'QUERY_LISTEN', 'LOCAL_KAFKA_PORT']) {
      expect(taken.lines.join('\n')).toContain(name);
    }
    await other.remove();
  });

  test('a second Ctrl-C ends it at once', async () => {
    const children = await product.children();
    // Held up: a process that is stopped cannot end by itself.
    process.kill(await ingestPid(), 'SIGSTOP');
    product.pressCtrlC();
    await product.waitForLine(/stopping ingest \.\.\./, WAIT.timeout);
    // npm passes the first one on a second time; a person is slower than that.
    await vi.waitFor(
      () => {
        if (isAlive(product.pid)) product.pressCtrlC();
        expect(isAlive(product.pid)).toBe(false);
      },
      { timeout: WAIT.timeout, interval: 700 },
    );
    expect(await product.exited).not.toBe(0);
    await vi.waitFor(() => {
      expect(children.filter(isAlive)).toEqual([]);
    }, WAIT);
  });

  test('npm start that is killed with -9 leaves no process behind', async () => {
    const children = await product.children();
    process.kill(-product.pid, 'SIGKILL');
    await product.exited;
    await vi.waitFor(() => {
      expect(children.filter(isAlive)).toEqual([]);
    }, WAIT);
  });

  /** A download that continues until curl is ended. */
  function startDrip(localPort: number): ChildProcess {
    const drip = url('/drip/100000000?every=20');
    return startCurl(site.socks, '--local-port', String(localPort), drip);
  }

  /** Adds the bytes of an interrupted download to the reports: curl itself can report nothing. */
  async function rememberDrip(localPort: number): Promise<void> {
    const session = await sessionOf({ local_port: localPort });
    reports.push({
      exitCode: 0,
      http_code: 200,
      local_port: localPort,
      size_request: session.bytes_sent,
      size_upload: 0,
      size_header: session.bytes_received,
      size_download: 0,
    });
  }

  function kafka(): kafkajs.Kafka {
    return new kafkajs.Kafka({ brokers: [site.kafka], logLevel: kafkajs.logLevel.NOTHING });
  }

  async function topicEnd(topic: string): Promise<number> {
    const admin = kafka().admin();
    await admin.connect();
    const offsets = await admin.fetchTopicOffsets(topic);
    await admin.disconnect();
    return offsets.reduce((sum, each) => sum + Number(each.high), 0);
  }

  async function readAll(topic: string, count: number): Promise<kafkajs.KafkaMessage[]> {
    const consumer = kafka().consumer({ groupId: `e2e-${process.pid}-${Date.now()}` });
    const found: kafkajs.KafkaMessage[] = [];
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: ({ message }) => {
        found.push(message);
        return Promise.resolve();
      },
    });
    try {
      await vi.waitFor(() => {
        expect(found.length).toBeGreaterThanOrEqual(count);
      }, WAIT);
    } finally {
      await consumer.disconnect();
    }
    return found;
  }

  async function ingestPid(): Promise<number> {
    for (const pid of await product.children()) {
      const command = execFileSync('ps', ['-o', 'command=', '-p', String(pid)], {
        encoding: 'utf8',
      });
      if (command.includes('services/ingest/')) return pid;
    }
    throw new Error('no ingest among the processes');
  }
});
