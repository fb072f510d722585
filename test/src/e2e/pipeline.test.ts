import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
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
/** The promise to the user. */
const SHOWN_WITHIN_MS = 3_000;
/** For what nobody promised to be quick. */
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
    product = await startProduct(site);
  });
  afterAll(async () => {
    // Undefined where it did not start.
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

  /** The newest session, once there are as many as curl has made requests. */
  async function newest(count: number): Promise<ApiSession> {
    return vi.waitFor(
      async () => {
        const sessions = await getSessions(site.api);
        expect(sessions).toHaveLength(count);
        const [first] = sessions;
        expect(first?.ended_at).not.toBeNull();
        return first as ApiSession;
      },
      { timeout: SHOWN_WITHIN_MS, interval: 50 },
    );
  }

  test('a download is shown within 3 seconds with the bytes that curl counted', async () => {
    const report = await request(url('/bytes/1234567'));
    expect(report).toMatchObject({ exitCode: 0, http_code: 200, size_download: 1_234_567 });
    expect(await newest(1)).toMatchObject({
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
  });

  test('an upload is counted as curl counts it', async () => {
    const report = await request('--data-binary', 'x'.repeat(100_000), url('/'));
    expect(report).toMatchObject({ http_code: 200, size_upload: 100_000 });
    expect(await newest(2)).toMatchObject({
      bytes_sent: report.size_request + report.size_upload,
      bytes_received: report.size_header + report.size_download,
    });
  });

  test('a name that the client left to the proxy is shown as it was asked for', async () => {
    const report = await request(`http://localhost:${origin.port}/bytes/5`);
    expect(report).toMatchObject({ http_code: 200 });
    expect(await newest(3)).toMatchObject({ dest_host: 'localhost', status: 'closed' });
  });

  test('a destination that refuses is a failed session', async () => {
    const unused = await startOrigin();
    await unused.stop();
    const report = await request(`http://127.0.0.1:${unused.port}/`);
    expect(report.exitCode).toBe(97);
    expect(await newest(4)).toMatchObject({
      status: 'failed',
      close_reason: 'connect_failed',
      error_code: 'ECONNREFUSED',
      bytes_sent: 0,
      bytes_received: 0,
    });
  });

  test("the product's own ports are refused, though loopback is allowed", async () => {
    const own = [site.clickhouse, site.api, site.ingestOps, site.proxyOps, `http://${site.kafka}`];
    for (const [index, address] of own.entries()) {
      const report = await request(address);
      expect(report.exitCode, address).toBe(97);
      expect(await newest(5 + index)).toMatchObject({
        status: 'rejected_by_acl',
        close_reason: 'acl_rejected',
        acl_decision: 'block',
      });
    }
  });

  test('stats and top lists add up to what curl counted', async () => {
    const sent = reports.reduce((sum, each) => sum + each.size_request + each.size_upload, 0);
    const received = reports.reduce((sum, each) => sum + each.size_header + each.size_download, 0);
    // Sums follow the sessions within seconds; a busy machine takes longer.
    const stats = await vi.waitFor(async () => {
      const found = await get<{
        sessions_open: number;
        current: Record<string, number>;
        top_users: Record<string, unknown>[];
        top_destinations: Record<string, unknown>[];
      }>(site.api, 'stats');
      expect(found.sessions_open).toBe(0);
      expect(found.current).toMatchObject({
        sessions_started: reports.length,
        bytes_sent: sent,
        bytes_received: received,
      });
      return found;
    }, WAIT);
    const users = await get<{ items: Record<string, unknown>[] }>(site.api, 'top/users');
    expect(users.items).toEqual([
      expect.objectContaining({ user: 'anonymous', bytes_sent: sent, bytes_received: received }),
    ]);
    expect(stats.top_users).toEqual([
      expect.objectContaining({ user: 'anonymous', bytes: sent + received }),
    ]);
    const destinations = await get<{ items: { dest_host: string; bytes: number }[] }>(
      site.api,
      'top/destinations',
    );
    // Those that moved nothing are there, too.
    const moved = destinations.items.filter((each) => each.bytes > 0);
    expect(moved.map((each) => each.dest_host)).toEqual(['127.0.0.1', 'localhost']);
    expect(destinations.items.reduce((sum, each) => sum + each.bytes, 0)).toBe(sent + received);
  });

  test('a session can be read alone and with its events', async () => {
    const [session] = await getSessions(site.api, 'limit=1');
    expect(session).toBeDefined();
    const id = session?.session_id ?? '';
    expect(await get(site.api, `sessions/${id}`)).toMatchObject({ session_id: id });
    const events = await get<{ items: { type: string; seq: number }[] }>(
      site.api,
      `sessions/${id}/events`,
    );
    expect(events.items.map((event) => event.seq)).toEqual([0, 1]);
  });

  test('from where a destination was reached is filtered by, exported and in the timeline', async () => {
    const peer = origin.peers[0];
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
    const download = startCurl(site.socks, url('/drip/100000000?every=20'));
    try {
      const active = async (): Promise<ApiSession | undefined> =>
        (await getSessions(site.api, 'limit=1')).find((each) => each.ended_at === null);
      const first = await vi.waitFor(
        async () => {
          const { items } = await get<{ items: ApiSession[] }>(site.api, 'sessions/active');
          expect(items).toHaveLength(1);
          expect(items[0]?.bytes_received).toBeGreaterThan(0);
          return items[0] as ApiSession;
        },
        { timeout: 10_000, interval: 100 },
      );
      await vi.waitFor(
        async () => {
          const { items } = await get<{ items: ApiSession[] }>(site.api, 'sessions/active');
          expect(items[0]?.session_id).toBe(first.session_id);
          expect(items[0]?.bytes_received).toBeGreaterThan(first.bytes_received);
        },
        { timeout: 15_000, interval: 100 },
      );
      expect(await active()).toMatchObject({ status: 'active', close_reason: null });
    } finally {
      download.kill();
    }
    const ended = await newest(reports.length + 1);
    expect(ended).toMatchObject({ status: 'closed' });
    expect(['client_eof', 'client_reset']).toContain(ended.close_reason);
    reports.push({
      exitCode: 0,
      http_code: 200,
      size_request: ended.bytes_sent,
      size_upload: 0,
      size_header: ended.bytes_received,
      size_download: 0,
    });
  });

  test('every hop has counted the same sessions', async () => {
    const { length } = reports;
    expect(await metric(site.proxyOps, 'sockscope_proxy_connections_accepted_total')).toBe(length);
    expect(await metric(site.proxyOps, 'sockscope_proxy_sessions_started_total')).toBe(length);
    expect(await metric(site.proxyOps, 'sockscope_proxy_sessions_closed_total')).toBe(length);
    expect(await metric(site.proxyOps, 'sockscope_proxy_sessions_active')).toBe(0);
    expect(await metric(site.proxyOps, 'sockscope_proxy_spool_limit_bytes')).toBe(1024 ** 3);
    const events = await topicEnd(TOPIC);
    // A start and an end each, and deltas of what lasted.
    expect(events).toBeGreaterThanOrEqual(2 * length);
    await vi.waitFor(async () => {
      expect(await metric(site.ingestOps, 'sockscope_ingest_records_total')).toBe(events);
      expect(await metric(site.ingestOps, 'sockscope_ingest_lag_records')).toBe(0);
    }, WAIT);
    const rows = { table: 'session_events' };
    expect(await metric(site.ingestOps, 'sockscope_ingest_rows_total', rows)).toBe(events);
    expect(await metric(site.ingestOps, 'sockscope_ingest_poison_records_total')).toBe(0);
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
    'promtool finds nothing to say about the metrics of the three services',
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

  test('the panel for Infinity asks what the API answers, in the columns that it names', async () => {
    const [target] = readInfinityPanel().targets;
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
      poison.length,
    );

    await request(url('/bytes/77'));
    expect((await newest(reports.length)).bytes_received).toBeGreaterThan(77);
  });

  test('ingest killed with -9 in the middle leaves the same totals', async () => {
    const before = await product.children();
    const ingest = await ingestPid();
    expect(before).toContain(ingest);
    for (let i = 0; i < 60; i += 1) {
      await request(url(`/bytes/${i * 100}`));
      if (i === 20) process.kill(ingest, 'SIGKILL');
    }
    await product.waitForLine(/ingest has ended unexpectedly \(signal SIGKILL\)/, 5_000);
    await product.waitForLine(/ingest runs again/, 30_000);
    const sent = reports.reduce((sum, each) => sum + each.size_request + each.size_upload, 0);
    const received = reports.reduce((sum, each) => sum + each.size_header + each.size_download, 0);
    await vi.waitFor(
      async () => {
        const { current } = await get<{ current: Record<string, number> }>(site.api, 'stats');
        expect(current).toMatchObject({
          sessions_started: reports.length,
          bytes_sent: sent,
          bytes_received: received,
        });
      },
      { timeout: 30_000, interval: 200 },
    );
  });

  test('Ctrl-C stops everything in order and leaves no process behind', async () => {
    const children = await product.children();
    expect(children).toHaveLength(5);
    const download = startCurl(site.socks, url('/drip/100000000?every=20'));
    const ended = once(download, 'exit');
    await vi.waitFor(async () => {
      expect(await metric(site.proxyOps, 'sockscope_proxy_sessions_active')).toBe(1);
    }, WAIT);
    product.pressCtrlC();
    // npm repeats the signal for itself when all is done, where its shell does not stand aside.
    expect([0, 'SIGINT']).toContain(await product.exited);
    await ended;
    expect(product.lines.at(-1)).toBe('sockscope: stopped');
    const stops = product.lines.flatMap(
      (line) => /^sockscope: stopping (\w+) \.\.\.$/.exec(line)?.[1] ?? [],
    );
    expect(stops.slice(0, 3)).toEqual(['proxy', 'ingest', 'query']);
    expect(stops.slice(3).toSorted()).toEqual(['ClickHouse', 'Kafka']);
    expect(children.filter(isAlive)).toEqual([]);
  });

  test('the next npm start has all the history, the interrupted session among it', async () => {
    product = await startProduct(site);
    const session = await newest(reports.length + 1);
    expect(session).toMatchObject({ status: 'closed', close_reason: 'server_shutdown' });
    expect(session.bytes_received).toBeGreaterThan(0);
  });

  test('a second copy on the same data or ports is refused with what to do', async () => {
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
    await product.waitForLine(/stopping ingest \.\.\./, 20_000);
    // npm passes the first one on a second time; a person is slower than that.
    await vi.waitFor(
      () => {
        if (isAlive(product.pid)) product.pressCtrlC();
        expect(isAlive(product.pid)).toBe(false);
      },
      { timeout: 10_000, interval: 700 },
    );
    expect(await product.exited).not.toBe(0);
    await vi.waitFor(() => {
      expect(children.filter(isAlive)).toEqual([]);
    }, WAIT);
  });

  test('npm start that is killed with -9 leaves no process behind', async () => {
    product = await startProduct(site);
    const children = await product.children();
    process.kill(-product.pid, 'SIGKILL');
    await vi.waitFor(
      () => {
        expect(children.filter(isAlive)).toEqual([]);
      },
      { timeout: 40_000, interval: 200 },
    );
  });

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
    const consumer = kafka().consumer({ groupId: `e2e-${process.pid}` });
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
      await vi.waitFor(
        () => {
          expect(found.length).toBeGreaterThanOrEqual(count);
        },
        { timeout: 20_000 },
      );
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
