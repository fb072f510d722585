/**
 * `npm run bench:ingest`: how fast, how large and how late ingest is, beside kafkajs alone and beside
 * ClickHouse's own Kafka engine, on the same topic in the same run. See HELP.
 *
 * Longer than 400 lines: one run is read from top to bottom, from the topic to the result.
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startClickHouse, startKafka } from '@sockscope/local';
import type { ClickHouseServer, KafkaBroker } from '@sockscope/local';
import { clickhouseConfig, createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { cpuSeconds, median, peakMiB, quantile } from './measure.js';
import { peerStatements } from './peer.js';
import { ingestCommand, startIngest } from './servers.js';
import type { BenchIngest, BenchPlace } from './servers.js';
import { collect, createTopic, PARTITIONS, fillTopic } from './topic.js';
import type { PlainResult } from './plain-consumer.js';
import { DEFAULT_WORKLOAD } from './workload.js';
import type { FillTotals } from './workload.js';

const HELP = `npm run bench:ingest -- [options]

Fills a topic with a realistic workload, then measures in turn, in several rounds:
  consume   kafkajs consuming alone
  parse     kafkajs consuming and JSON.parse of every value: the ceiling
  ingest    this ingest into all of its tables
  peer      ClickHouse's Kafka engine with materialized views doing the usual sum fold
and at last how late events can be queried at a steady rate.

  --events N       events in the topic (default ${DEFAULT_WORKLOAD.events})
  --compared N     of these, as many are read by consume, parse and peer, which would else take most of
                   the time; their speed does not rise with the number (default 1000000)
  --rounds N       rounds (default 3)
  --rate N         events a second for the delay (default 10000; 0 leaves it out)
  --rate-seconds N length of that (default 30)
  --only a,b       only these of the four
  --out FILE       JSON results (default test/bench/results/ingest.json)

Example: npm run bench:ingest -- --rounds 1 --events 1000000
`;

const { values: args } = parseArgs({
  options: {
    events: { type: 'string', default: String(DEFAULT_WORKLOAD.events) },
    compared: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '3' },
    rate: { type: 'string', default: '10000' },
    'rate-seconds': { type: 'string', default: '30' },
    only: { type: 'string', default: 'consume,parse,ingest,peer' },
    out: {
      type: 'string',
      default: fileURLToPath(new URL('../../../bench/results/ingest.json', import.meta.url)),
    },
    help: { type: 'boolean', default: false },
  },
});
if (args.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

const EVENTS = Number(args.events);
const COMPARED = Math.min(EVENTS, Number(args.compared));
const FILLERS = 2;
const POLL_MS = 50;
const SCRIPTS = new URL('.', import.meta.url);

/** One measurement of one contender. CPU is the time used while it ran. */
interface Run {
  readonly eventsPerSecond: number;
  readonly cpuPerMillion: {
    readonly own: number;
    readonly clickhouse: number;
    readonly kafka: number;
  };
  readonly peakMiB: number | null;
}

const say = (text: string) => process.stderr.write(`${text}\n`);

/** Runs the function with a temporary directory and servers of its own. */
async function withServers(
  run: (kafka: KafkaBroker, server: ClickHouseServer) => Promise<void>,
): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sockscope-bench-'));
  say('starting Kafka and ClickHouse');
  const kafka = await startKafka({ dataDir: join(dataDir, 'kafka'), heapMiB: 512 });
  const server = await startClickHouse({ dataDir: join(dataDir, 'clickhouse') });
  try {
    await run(kafka, server);
  } finally {
    await Promise.all([kafka.stop(), server.stop()]);
    await rm(dataDir, { recursive: true, force: true });
  }
}

function clientOf(server: ClickHouseServer, database: string): ClickHouse {
  return createClickHouse(
    clickhouseConfig.parse({ url: server.url, database, timeout_ms: 600_000 }),
  );
}

async function number(clickhouse: ClickHouse, sql: string): Promise<number> {
  const [row] = await clickhouse.query({
    sql: `SELECT toInt64(${sql}) AS n`,
    row: z.object({ n: int64 }),
  });
  return row?.n ?? 0;
}

async function fill(kafka: KafkaBroker, topic: string): Promise<FillTotals> {
  await createTopic(kafka, topic);
  const startMs = Date.now() - (Date.now() % 86_400_000) - 3_600_000;
  const parts = await Promise.all(
    Array.from({ length: FILLERS }, (_, i) =>
      fillTopic({
        brokers: [kafka.address],
        topic,
        paced: false,
        // The peers read with plain kafkajs.
        compression: 'gzip',
        workload: {
          ...DEFAULT_WORKLOAD,
          startMs,
          seed: DEFAULT_WORKLOAD.seed + i,
          events: Math.floor(EVENTS / FILLERS) + (i < EVENTS % FILLERS ? 1 : 0),
          sessionsPerSecond: DEFAULT_WORKLOAD.sessionsPerSecond / FILLERS,
        },
      }),
    ),
  );
  const sum = (of: (totals: FillTotals) => number) =>
    parts.reduce((total, part) => total + of(part), 0);
  return {
    events: sum((p) => p.events),
    sessions: sum((p) => p.sessions),
    bytesSent: sum((p) => p.bytesSent),
    bytesReceived: sum((p) => p.bytesReceived),
    valueBytes: sum((p) => p.valueBytes),
  };
}

async function runPlain(
  kafka: KafkaBroker,
  topic: string,
  mode: 'consume' | 'parse',
): Promise<Run> {
  const kafkaCpu = cpuSeconds(kafka.pid);
  const child = spawn(
    process.execPath,
    [
      fileURLToPath(new URL('plain-consumer.js', SCRIPTS)),
      `--brokers=${kafka.address}`,
      `--topic=${topic}`,
      `--events=${COMPARED}`,
      `--mode=${mode}`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const result = JSON.parse(await collect(child)) as PlainResult;
  const perMillion = 1e6 / COMPARED;
  return {
    eventsPerSecond: COMPARED / result.seconds,
    cpuPerMillion: {
      own: result.cpuSeconds * perMillion,
      clickhouse: 0,
      kafka: (cpuSeconds(kafka.pid) - kafkaCpu) * perMillion,
    },
    peakMiB: result.peakMiB,
  };
}

async function migratedIngest(place: BenchPlace): Promise<BenchIngest> {
  await ingestCommand(place, 'migrate');
  return startIngest(place);
}

const MEASURED_TABLES = [
  'sessions',
  'sessions_by_user',
  'sessions_by_destination',
  'session_traffic_1m',
  'session_events',
] as const;

/** @param isLast whether to merge all parts and measure them, which takes as long as another run. */
async function runIngest(
  { kafka, server }: { kafka: KafkaBroker; server: ClickHouseServer },
  { topic, totals }: { topic: string; totals: FillTotals },
  database: string,
  isLast: boolean,
): Promise<{ run: Run; sizes: Record<string, number> }> {
  const ingest = await migratedIngest({ kafka, server, topic, database });
  const clickhouse = clientOf(server, database);
  try {
    let beganAt = 0;
    let before = 0;
    let cpu = { own: 0, clickhouse: 0, kafka: 0 };
    for (;;) {
      const taken = (await ingest.metric('sockscope_ingest_records_total')) ?? 0;
      if (taken > 0 && beganAt === 0) {
        beganAt = performance.now();
        before = taken;
        cpu = {
          own: cpuSeconds(ingest.pid),
          clickhouse: cpuSeconds(server.pid),
          kafka: cpuSeconds(kafka.pid),
        };
      }
      // Every table of every batch was acknowledged, and the offsets committed.
      if (taken >= totals.events && (await ingest.metric('sockscope_ingest_held_events')) === 0)
        break;
      await delay(POLL_MS);
    }
    const seconds = (performance.now() - beganAt) / 1_000;
    const counted = totals.events - before;
    const run: Run = {
      eventsPerSecond: counted / seconds,
      cpuPerMillion: {
        own: ((cpuSeconds(ingest.pid) - cpu.own) * 1e6) / counted,
        clickhouse: ((cpuSeconds(server.pid) - cpu.clickhouse) * 1e6) / counted,
        kafka: ((cpuSeconds(kafka.pid) - cpu.kafka) * 1e6) / counted,
      },
      peakMiB: peakMiB(ingest.pid),
    };
    const inserts =
      (await ingest.metric('sockscope_ingest_insert_duration_seconds_count', 'table="sessions"')) ??
      1;
    const rows = (await ingest.metric('sockscope_ingest_rows_total', 'table="sessions"')) ?? 0;
    const batches = (await ingest.metric('sockscope_ingest_batches_total')) ?? 1;
    await expectExact(clickhouse, totals);
    const bytes =
      "(SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table = '";
    const unmerged = await number(clickhouse, `${bytes}sessions')`);
    const sizes: Record<string, number> = {
      events_per_batch: Math.round(totals.events / batches),
      rows_per_part_sessions: Math.round(rows / inserts),
      bytes_per_session_unmerged: unmerged / totals.sessions,
    };
    for (const table of isLast ? MEASURED_TABLES : []) {
      await clickhouse.command({ sql: `OPTIMIZE TABLE ${table} FINAL` });
      sizes[`bytes_per_session_${table}`] =
        (await number(clickhouse, `${bytes}${table}')`)) / totals.sessions;
    }
    return { run, sizes };
  } finally {
    await ingest.stop();
    await clickhouse.command({ sql: `DROP DATABASE ${database} SYNC` });
    await clickhouse.close();
  }
}

/** A fast ingest that is wrong is no result. */
async function expectExact(clickhouse: ClickHouse, totals: FillTotals): Promise<void> {
  const found = {
    events: await number(clickhouse, '(SELECT count() FROM session_events FINAL)'),
    sessions: await number(clickhouse, '(SELECT count() FROM sessions FINAL)'),
    bytesSent: await number(clickhouse, '(SELECT sum(bytes_sent) FROM sessions FINAL)'),
    bytesReceived: await number(clickhouse, '(SELECT sum(bytes_received) FROM sessions FINAL)'),
    trafficReceived: await number(
      clickhouse,
      '(SELECT sum(bytes_received) FROM session_traffic_1m FINAL)',
    ),
  };
  const { valueBytes: _, ...wanted } = totals;
  const expected = { ...wanted, trafficReceived: totals.bytesReceived };
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new Error(`not exact: ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
  }
}

async function runPeer(
  kafka: KafkaBroker,
  server: ClickHouseServer,
  topic: string,
  database: string,
): Promise<Run> {
  const clickhouse = clientOf(server, 'default');
  try {
    for (const sql of peerStatements(database, kafka.address, topic, database)) {
      await clickhouse.command({ sql });
    }
    let beganAt = 0;
    let before = 0;
    let cpu = { clickhouse: 0, kafka: 0 };
    for (;;) {
      const rows = await number(
        clickhouse,
        `(SELECT sum(rows) FROM system.parts WHERE active AND database = '${database}' AND table = 'events')`,
      );
      if (rows > 0 && beganAt === 0) {
        beganAt = performance.now();
        before = rows;
        cpu = { clickhouse: cpuSeconds(server.pid), kafka: cpuSeconds(kafka.pid) };
      }
      if (rows >= COMPARED) break;
      await delay(POLL_MS);
    }
    const counted = COMPARED - before;
    return {
      eventsPerSecond: counted / ((performance.now() - beganAt) / 1_000),
      cpuPerMillion: {
        own: 0,
        clickhouse: ((cpuSeconds(server.pid) - cpu.clickhouse) * 1e6) / counted,
        kafka: ((cpuSeconds(kafka.pid) - cpu.kafka) * 1e6) / counted,
      },
      peakMiB: null,
    };
  } finally {
    await clickhouse.command({ sql: `DROP DATABASE IF EXISTS ${database} SYNC` });
    await clickhouse.close();
  }
}

/** Time to make an event before the clock starts, on a slow machine. */
const MAKING_MS = 0.1;

/**
 * The age of events when they first show in a query, at a steady rate: events are looked for by the
 * hundredth of a second in which they occurred, and a hundredth counts as visible when all are there
 * that will ever be. So the last one of each is measured, to the resolution of the polling.
 */
async function runDelay(
  kafka: KafkaBroker,
  server: ClickHouseServer,
  rate: number,
  seconds: number,
) {
  const topic = 'sockscope.bench.delay';
  const database = 'bench_delay';
  await createTopic(kafka, topic);
  const ingest = await migratedIngest({ kafka, server, topic, database });
  const clickhouse = clientOf(server, database);
  try {
    while ((await ingest.metric('sockscope_ingest_assigned_partitions')) !== PARTITIONS) {
      await delay(POLL_MS);
    }
    const startMs = Date.now() + 3_000 + rate * seconds * MAKING_MS;
    const filling = fillTopic({
      brokers: [kafka.address],
      topic,
      paced: true,
      // About 2.7 events a session over such a stretch.
      workload: {
        ...DEFAULT_WORKLOAD,
        startMs,
        events: rate * seconds,
        sessionsPerSecond: rate / 2.7,
      },
    });
    const sample = z.object({ slot: int64, n: int64 });
    const seen = new Map<number, { n: number; atMs: number }>();
    let isOver = false;
    const over = filling.finally(() => {
      isOver = true;
    });
    let quietPolls = 0;
    while (!isOver || quietPolls < 40) {
      const rows = await clickhouse.query({
        sql: `SELECT intDiv(toUnixTimestamp64Milli(occurred_at), 10) AS slot, count() AS n FROM session_events
          WHERE occurred_at >= now64(3) - INTERVAL 15 SECOND GROUP BY slot`,
        row: sample,
      });
      const atMs = Date.now();
      let isNew = false;
      for (const { slot, n } of rows) {
        if ((seen.get(slot)?.n ?? 0) >= n) continue;
        seen.set(slot, { n, atMs });
        isNew = true;
      }
      quietPolls = isNew ? 0 : quietPolls + 1;
      await delay(POLL_MS);
    }
    const totals = await over;
    const lastMs = Math.max(...[...seen.keys()].map((slot) => slot * 10));
    const delays: number[] = [];
    for (const [slot, { n, atMs }] of seen)
      for (let i = 0; i < n; i += 1) delays.push(atMs - slot * 10);
    return {
      events: totals.events,
      seen: delays.length,
      achieved_rate: Math.round((totals.events * 1_000) / (lastMs - startMs)),
      p50_ms: quantile(delays, 0.5),
      p99_ms: quantile(delays, 0.99),
      max_ms: quantile(delays, 1),
      peak_mib: Math.round(peakMiB(ingest.pid)),
    };
  } finally {
    await ingest.stop();
    await clickhouse.command({ sql: `DROP DATABASE ${database} SYNC` });
    await clickhouse.close();
  }
}

function summary(runs: readonly Run[]) {
  const of = (value: (run: Run) => number) => Number(median(runs.map(value)).toFixed(2));
  return {
    events_per_second: Math.round(of((run) => run.eventsPerSecond)),
    cpu_seconds_per_million: {
      own: of((run) => run.cpuPerMillion.own),
      clickhouse: of((run) => run.cpuPerMillion.clickhouse),
      kafka: of((run) => run.cpuPerMillion.kafka),
      all: of(
        (run) => run.cpuPerMillion.own + run.cpuPerMillion.clickhouse + run.cpuPerMillion.kafka,
      ),
    },
    peak_mib:
      runs[0]?.peakMiB === null
        ? null
        : Math.round(Math.max(...runs.map((run) => run.peakMiB ?? 0))),
    runs: runs.map((run) => Math.round(run.eventsPerSecond)),
  };
}

await withServers(async (kafka, server) => {
  const topic = 'sockscope.bench';
  const only = args.only.split(',');
  say(`filling the topic with ${EVENTS} events`);
  const filledAt = performance.now();
  const totals = await fill(kafka, topic);
  say(
    `  ${totals.sessions} sessions, ${Math.round(totals.valueBytes / totals.events)} bytes an event, ${Math.round((performance.now() - filledAt) / 1_000)} s`,
  );

  const runs: Record<string, Run[]> = {};
  const note = (name: string, run: Run) => {
    (runs[name] ??= []).push(run);
    say(`  ${name.padEnd(8)} ${Math.round(run.eventsPerSecond)} events/s`);
  };
  let sizes: Record<string, number> = {};
  const rounds = Number(args.rounds);
  for (let round = 1; round <= rounds; round += 1) {
    say(`round ${round}`);
    // One after the other: they share the machine.
    for (const mode of ['consume', 'parse'] as const) {
      if (only.includes(mode)) note(mode, await runPlain(kafka, topic, mode));
    }
    if (only.includes('ingest')) {
      const result = await runIngest(
        { kafka, server },
        { topic, totals },
        `bench_ingest_${round}`,
        round === rounds,
      );
      sizes = result.sizes;
      note('ingest', result.run);
    }
    if (only.includes('peer'))
      note('peer', await runPeer(kafka, server, topic, `bench_peer_${round}`));
  }
  const rate = Number(args.rate);
  if (rate > 0) say(`delay at ${rate} events/s`);
  const lateness =
    rate > 0 ? await runDelay(kafka, server, rate, Number(args['rate-seconds'])) : null;

  const medians = Object.fromEntries(
    Object.entries(runs).map(([name, list]) => [name, summary(list)]),
  );
  const ratio = (a: string, b: string) => {
    const [x, y] = [medians[a], medians[b]];
    return x === undefined || y === undefined
      ? null
      : Number((x.events_per_second / y.events_per_second).toFixed(2));
  };
  const report = {
    measured_at: new Date().toISOString(),
    machine: {
      cpus: cpus().length,
      model: cpus()[0]?.model,
      memory_gib: Math.round(totalmem() / 1024 ** 3),
      node: process.version,
    },
    workload: { ...DEFAULT_WORKLOAD, ...totals, partitions: PARTITIONS },
    rounds,
    compared_events: COMPARED,
    medians,
    ratios: {
      ingest_to_parse: ratio('ingest', 'parse'),
      ingest_to_consume: ratio('ingest', 'consume'),
      ingest_to_peer: ratio('ingest', 'peer'),
    },
    sizes,
    delay: lateness,
  };
  await mkdir(join(args.out, '..'), { recursive: true });
  await writeFile(args.out, `${JSON.stringify(report, null, 2)}\n`);
  process.stdout.write(
    `${JSON.stringify({ medians, ratios: report.ratios, sizes, delay: lateness }, null, 2)}\n`,
  );
});
