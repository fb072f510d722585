/**
 * `npm run bench:steady`: whether ingest keeps up for a quarter of an hour at a steady rate, with
 * everything that happens in a deployment meanwhile. See HELP.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startClickHouse, startKafka } from '@sockscope/local';
import { clickhouseConfig, createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { createCoresMeter } from './cores.js';
import type { Cores } from './cores.js';
import { copiesOf, generatedSessions } from './generated.js';
import { peakMiB, quantile } from './measure.js';
import { ingestCommand, startIngest } from './servers.js';
import type { BenchIngest } from './servers.js';
import { createSumsWatch } from './sums-watch.js';
import type { Lacking } from './sums-watch.js';
import { createTopic, startFiller } from './topic.js';
import type { Filler } from './topic.js';
import { DEFAULT_WORKLOAD } from './workload.js';

const HELP = `npm run bench:steady -- [options]

Fills hours with sessions and sums them. Then ten proxies send sessions at a steady rate. One of them was
cut off and begins to send after a third of the time: first its backlog. After half of the time a second
ingest joins the group.

  --rate N        sessions that begin in a second; each has about 4.5 events (default 3000)
  --minutes N     length of the measurement (default 15)
  --warm-up N     minutes before it, until as many sessions are open as there will be (default 5)
  --duration N    mean seconds of a session: with the rate, how many are open (default 100)
  --hours N       hours that are filled before, at this rate (default 6)
  --cut-off N     minutes for which the one proxy was cut off (default 60)
  --out FILE      JSON results (default test/bench/results/steady.json)

Example: npm run bench:steady -- --rate 300 --minutes 2 --warm-up 1 --hours 1 --cut-off 5 --duration 30
`;
const { values: args } = parseArgs({
  options: {
    rate: { type: 'string', default: '3000' },
    minutes: { type: 'string', default: '15' },
    'warm-up': { type: 'string', default: '5' },
    duration: { type: 'string', default: '100' },
    hours: { type: 'string', default: '6' },
    'cut-off': { type: 'string', default: '60' },
    out: {
      type: 'string',
      default: fileURLToPath(new URL('../../../bench/results/steady.json', import.meta.url)),
    },
    help: { type: 'boolean', default: false },
  },
});

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const PROXIES = 10;
const FILL_ROWS = 2_000_000;
/** No filled session lasts longer. */
const FILL_LONGEST_MS = 5_000;
const SAMPLE_MS = 1_000;
/** A session's events between its first second and its end stand at the ends of minutes. */
const INTERVAL_MS = MINUTE_MS;
const TOPIC = 'sockscope.bench.steady';
const DATABASE = 'bench_steady';
/** Time after the last event until everything is read and summed. */
const DRAIN_MAX_MS = 30 * MINUTE_MS;

/** Used by statements that fill the hours, while nothing else runs. */
const FILL_THREADS = 2;

const clock = (ms: number) => new Date(ms).toISOString().slice(11, 19);
const say = (text: string) => process.stderr.write(`${text}\n`);

/** A statement of a round that was seen while it ran. */
interface Seen {
  /** Kind and start of its first bucket, seconds since 1970. */
  readonly of: string;
  readonly fromMs: number;
  toMs: number;
}

interface Sample extends Lacking {
  readonly atMs: number;
  readonly lagRecords: number;
  /** Parts of the table that has most. */
  readonly parts: number;
}

const NO_SAMPLE: Sample = { atMs: 0, lagRecords: 0, sumsAgeS: 0, lateS: 0, parts: 0 };

/** Notes the statements of rounds that run, by the id of the query. */
async function lookAtStatements(clickhouse: ClickHouse, seen: Map<string, Seen>): Promise<void> {
  const rows = await clickhouse.query({
    sql: `SELECT query_id AS id, elapsed FROM system.processes WHERE query_id LIKE 'sum-%'`,
    row: z.object({ id: z.string(), elapsed: z.number() }),
  });
  const nowMs = Date.now();
  for (const { id, elapsed } of rows) {
    const [, kind, start] = id.split('-');
    const known = seen.get(id) ?? {
      of: `${kind} ${start}`,
      fromMs: nowMs - elapsed * 1_000,
      toMs: 0,
    };
    seen.set(id, { ...known, toMs: nowMs });
  }
}

/** Returns the moment at which the sums of the last minutes were oldest, and the statements until then. */
function explainOldest(samples: readonly Sample[], statements: Iterable<Seen>) {
  const worst = samples.reduce((a, b) => (b.sumsAgeS > a.sumsAgeS ? b : a), NO_SAMPLE);
  const sinceMs = worst.atMs - worst.sumsAgeS * 1_000;
  return {
    age_s: worst.sumsAgeS,
    at: clock(worst.atMs),
    lag_records: worst.lagRecords,
    statements: [...statements]
      .filter(({ fromMs, toMs }) => toMs >= sinceMs && fromMs <= worst.atMs)
      .map(
        ({ of, fromMs, toMs }) => `${of} ${clock(fromMs)} ${Math.round((toMs - fromMs) / 1_000)} s`,
      ),
  };
}

async function sample(
  clickhouse: ClickHouse,
  lacking: () => Promise<Lacking>,
  all: readonly BenchIngest[],
): Promise<Sample> {
  const [row] = await clickhouse.query({
    sql: `SELECT
        (SELECT ifNull(max(parts), 0) FROM (SELECT count() AS parts FROM system.parts
          WHERE active AND database = currentDatabase() GROUP BY table)) AS parts`,
    row: z.object({ parts: int64 }),
  });
  const lags = (
    await Promise.all(all.map((each) => each.metric('sockscope_ingest_lag_records')))
  ).filter((value) => value !== null);
  return {
    atMs: Date.now(),
    lagRecords: lags.reduce((sum, lag) => sum + lag, 0),
    ...(await lacking()),
    parts: row?.parts ?? 0,
  };
}

function progressOf({ atMs, lagRecords, sumsAgeS, lateS, parts }: Sample, cores: Cores): string {
  const used = Object.entries(cores).map(([part, number]) => `${part} ${number.toFixed(2)}`);
  return (
    `${clock(atMs)} ${lagRecords} records wait, sums of the last minutes ${sumsAgeS.toFixed(0)} s old, ` +
    `earlier ones ${lateS.toFixed(0)} s late, ${parts} parts; cores: ${used.join(', ')}`
  );
}

/** Open sessions. Reads all rows, so once: the load must be that of ingest. */
async function countOpen(clickhouse: ClickHouse): Promise<number> {
  const [row] = await clickhouse.query({
    sql: `SELECT count() AS open FROM sessions FINAL WHERE status = 'active'`,
    row: z.object({ open: int64 }),
  });
  return row?.open ?? 0;
}

/** Sessions of the hours before, with their copies and sums. */
async function fillHours(
  clickhouse: ClickHouse,
  hours: number,
  rate: number,
  sum: () => Promise<void>,
): Promise<void> {
  const total = hours * 3_600 * rate;
  if (total === 0) return;
  const firstMs = Date.now() - (Date.now() % HOUR_MS) - hours * HOUR_MS;
  // None ends in the present hour: "rollups --all" would have it made from rows until it is over.
  const spanMs = hours * HOUR_MS - FILL_LONGEST_MS;
  const command = (sql: string) =>
    clickhouse.command({
      sql,
      timeoutMs: 3_600_000,
      settings: { max_partitions_per_insert_block: 0, max_insert_threads: FILL_THREADS },
    });
  for (let from = 0; from < total; from += FILL_ROWS) {
    const rows = Math.min(FILL_ROWS, total - from);
    await command(generatedSessions({ firstMs, spanMs, from, rows, total, longPercent: 0 }));
  }
  for (const sql of copiesOf()) await command(sql);
  await sum();
}

async function main(): Promise<void> {
  const [rate, minutes, warmUp, duration, hours, cutOff] = [
    args.rate,
    args.minutes,
    args['warm-up'],
    args.duration,
    args.hours,
    args['cut-off'],
  ].map(Number) as [number, number, number, number, number, number];
  const dataDir = await mkdtemp(join(tmpdir(), 'sockscope-steady-'));
  const kafka = await startKafka({ dataDir: join(dataDir, 'kafka'), heapMiB: 512 });
  const server = await startClickHouse({ dataDir: join(dataDir, 'clickhouse'), memoryMiB: 6_144 });
  const place = { kafka, server, topic: TOPIC, database: DATABASE };
  const clickhouse = createClickHouse(
    clickhouseConfig.parse({ url: server.url, database: DATABASE, timeout_ms: 600_000 }),
  );
  const all: BenchIngest[] = [];
  try {
    await createTopic(kafka, TOPIC);
    await ingestCommand(place, 'migrate');
    say(`filling ${hours} hours with ${hours * 3_600 * rate} sessions`);
    await fillHours(clickhouse, hours, rate, () =>
      ingestCommand(place, 'rollups', '--all', '--threads', String(FILL_THREADS)),
    );
    all.push(await startIngest(place));

    const startMs = Date.now() + 2_000;
    const measureMs = startMs + warmUp * MINUTE_MS;
    const endMs = measureMs + minutes * MINUTE_MS;
    const fill = (proxies: number, firstProxy: number, fromMs: number) =>
      startFiller({
        brokers: [kafka.address],
        topic: TOPIC,
        paced: true,
        untilMs: endMs,
        workload: {
          ...DEFAULT_WORKLOAD,
          seed: firstProxy + 1,
          events: Number.MAX_SAFE_INTEGER,
          startMs: fromMs,
          proxies,
          firstProxy,
          sessionsPerSecond: (rate * proxies) / PROXIES,
          meanDurationMs: duration * 1_000,
          intervalMs: INTERVAL_MS,
        },
      });
    const returnMs = measureMs + (endMs - measureMs) / 3;
    const joinMs = measureMs + (endMs - measureMs) / 2;
    const fillers: Filler[] = [fill(PROXIES - 1, 0, startMs)];
    const meter = createCoresMeter(() => ({
      generator: fillers.map(({ pid }) => pid),
      ingest: all.map(({ pid }) => pid),
      kafka: [kafka.pid],
      clickhouse: [server.pid],
    }));
    /** The readings at the last line of progress, at the beginning of the measurement, and now. */
    let [told, began] = [meter.read(), meter.read()];
    let now = told;
    const samples: Sample[] = [];
    const statements = new Map<string, Seen>();
    const lacking = createSumsWatch(clickhouse);
    while (Date.now() < endMs) {
      if (fillers.length === 1 && Date.now() >= returnMs) {
        say('the proxy that was cut off sends its backlog');
        fillers.push(fill(1, PROXIES - 1, returnMs - cutOff * MINUTE_MS));
      }
      if (all.length === 1 && Date.now() >= joinMs) {
        say('a second ingest joins the group');
        all.push(await startIngest(place));
      }
      await lookAtStatements(clickhouse, statements);
      const taken = await sample(clickhouse, lacking, all);
      now = meter.read();
      if (taken.atMs >= measureMs) samples.push(taken);
      else began = now;
      if (now.atMs - told.atMs >= MINUTE_MS) {
        say(progressOf(taken, meter.between(told, now)));
        told = now;
      }
      await delay(SAMPLE_MS);
    }
    // Not earlier: samples would stop meanwhile.
    const open = await countOpen(clickhouse);
    const filled = await Promise.all(fillers.map(({ totals }) => totals));
    const events = filled.reduce((sum, totals) => sum + totals.events, 0);
    say(`${events} events were sent; waiting until they are stored and summed`);
    const { atMs: settledMs, lateS } = await settled(clickhouse, lacking, all, events);

    const fifth = Math.ceil(samples.length / 5);
    const mean = (of: readonly Sample[]) =>
      Math.round(of.reduce((sum, { lagRecords }) => sum + lagRecords, 0) / Math.max(1, of.length));
    const ages = samples.map(({ sumsAgeS }) => sumsAgeS);
    const result = {
      measured_at: new Date().toISOString(),
      machine: { cpus: cpus().length, node: process.version },
      options: { rate, minutes, warm_up: warmUp, duration, hours, cut_off: cutOff },
      events,
      cpu_cores: meter.between(began, now),
      samples: samples.length,
      open_sessions: open,
      lag_records_first_fifth: mean(samples.slice(0, fifth)),
      lag_records_last_fifth: mean(samples.slice(-fifth)),
      lag_records_max: Math.max(0, ...samples.map(({ lagRecords }) => lagRecords)),
      measured_from: clock(measureMs),
      proxy_returned_at: clock(returnMs),
      ingest_joined_at: clock(joinMs),
      last_minutes_sums_age_p50_s: quantile(ages, 0.5),
      last_minutes_sums_age_p99_s: quantile(ages, 0.99),
      last_minutes_sums_oldest: explainOldest(samples, statements.values()),
      earlier_sums_late_max_s: Math.max(lateS, ...samples.map((each) => each.lateS)),
      parts_max: Math.max(0, ...samples.map(({ parts }) => parts)),
      ingest_peak_mib: all.map(({ pid }) => Math.round(peakMiB(pid))),
      settled_after_s: Math.round((settledMs - endMs) / 1_000),
    };
    await mkdir(join(args.out, '..'), { recursive: true });
    await writeFile(args.out, `${JSON.stringify(result, null, 2)}\n`);
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  } finally {
    await Promise.all(all.map((each) => each.stop()));
    await clickhouse.close();
    await Promise.all([kafka.stop(), server.stop()]);
    await rm(dataDir, { recursive: true, force: true });
  }
}

/**
 * Waits until every event is stored once and no hour before the present one is dirty.
 *
 * @returns also for how long an older hour's sums lacked its last change at most, in seconds.
 */
async function settled(
  clickhouse: ClickHouse,
  lacking: () => Promise<Lacking>,
  all: readonly BenchIngest[],
  events: number,
): Promise<{ readonly atMs: number; readonly lateS: number }> {
  let state = '';
  let latestS = 0;
  for (const endMs = Date.now() + DRAIN_MAX_MS; Date.now() < endMs; await delay(SAMPLE_MS)) {
    const { lagRecords, lateS } = await sample(clickhouse, lacking, all);
    const [row] = await clickhouse.query({
      sql: 'SELECT count() AS events FROM session_events FINAL',
      row: z.object({ events: int64 }),
    });
    latestS = Math.max(latestS, lateS);
    if (lagRecords === 0 && lateS === 0 && row?.events === events) {
      return { atMs: Date.now(), lateS: latestS };
    }
    const now = `${row?.events} events stored, ${lagRecords} unread, sums late by ${Math.round(lateS)} s`;
    if (now !== state) say(`  ${now}`);
    state = now;
  }
  throw new Error(`after half an hour: ${state}`);
}

if (args.help) process.stdout.write(HELP);
else await main();
