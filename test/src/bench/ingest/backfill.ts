/**
 * `npm run bench:backfill`: how long ingest takes to read events of many days, and to sum all of their hours,
 * days and weeks. See HELP.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startClickHouse, startKafka } from '@sockscope/local';
import { clickhouseConfig, createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { peakMiB } from './measure.js';
import { ingestCommand, startIngest } from './servers.js';
import { createTopic, fillTopic } from './topic.js';
import { DEFAULT_WORKLOAD } from './workload.js';

const HELP = `npm run bench:backfill -- [options]

The topic holds the events of many days when ingest starts.

  --events N   events in the topic (default 250000)
  --days N     days over which they are spread (default 65)

Example: npm run bench:backfill -- --events 50000 --days 10
`;
const { values: args } = parseArgs({
  options: {
    events: { type: 'string', default: '250000' },
    days: { type: 'string', default: '65' },
    help: { type: 'boolean', default: false },
  },
});
const DAY_MS = 86_400_000;
/** About, over such a stretch. */
const EVENTS_PER_SESSION = 9;
/** Part of the stretch by which the events begin earlier: details of hours that are not over are never made. */
const MARGIN = 0.1;
const DATABASE = 'bench_backfill';
const TOPIC = 'sockscope.bench.backfill';
const LOOK_MS = 250;
const LONGEST_MS = 1_800_000;

async function main(): Promise<void> {
  const [events, days] = [Number(args.events), Number(args.days)];
  const dataDir = await mkdtemp(join(tmpdir(), 'sockscope-backfill-'));
  const server = await startClickHouse({ dataDir: join(dataDir, 'data'), memoryMiB: 6_144 });
  const kafka = await startKafka({ dataDir: join(dataDir, 'kafka') });
  // All days are kept.
  const env = { RETENTION_TRAFFIC: '0', RETENTION_EVENTS: '0', RETENTION_PAIRS_HOURS: '0' };
  const place = { kafka, server, topic: TOPIC, database: DATABASE, env };
  const clickhouse = createClickHouse({
    ...clickhouseConfig.parse({ url: server.url }),
    database: DATABASE,
  });
  const stored = async () => {
    const [row] = await clickhouse.query({
      sql: `SELECT (SELECT count() FROM session_events) AS events,
          (SELECT (count(), countIf(is_detail)) FROM (SELECT startsWith(toString(span), 'detail') AS is_detail FROM ingest_rollup_buckets
            GROUP BY span, bucket, writer HAVING max(changed_through) > max(summed_through))) AS unsummed, unsummed.1 AS dirty,
          unsummed.2 AS dirty_details,
          (SELECT uniqExact(span, bucket) FROM ingest_rollup_buckets) AS buckets`,
      row: z.object({ events: int64, dirty: int64, dirty_details: int64, buckets: int64 }),
    });
    return row ?? { events: 0, dirty: 0, dirty_details: 0, buckets: 0 };
  };
  try {
    await ingestCommand(place, 'migrate');
    await createTopic(kafka, TOPIC);
    const spanMs = days * DAY_MS;
    await fillTopic({
      brokers: [kafka.address],
      topic: TOPIC,
      paced: false,
      workload: {
        ...DEFAULT_WORKLOAD,
        events,
        startMs: Date.now() - spanMs * (1 + MARGIN),
        sessionsPerSecond: events / EVENTS_PER_SESSION / (spanMs / 1_000),
      },
    });
    const begunMs = performance.now();
    const seconds = () => ((performance.now() - begunMs) / 1_000).toFixed(1);
    const ingest = await startIngest(place);
    try {
      let readS: string | null = null;
      let simpleS: string | null = null;
      for (;;) {
        await delay(LOOK_MS);
        const { events: count, dirty, dirty_details: details, buckets } = await stored();
        if (readS === null && count >= events) readS = seconds();
        if (readS !== null && simpleS === null && dirty === details) simpleS = seconds();
        if (readS !== null && dirty === 0) {
          process.stdout.write(
            `${count} events of ${days} days: stored ${readS} s after the start of ingest, sums by one dimension after ${simpleS} s, all ${buckets} buckets after ${seconds()} s; ingest took ${peakMiB(ingest.pid).toFixed(0)} MiB at most\n`,
          );
          break;
        }
        if (performance.now() - begunMs > LONGEST_MS) {
          throw new Error(`after ${seconds()} s, ${count} events and ${dirty} dirty buckets`);
        }
      }
    } finally {
      await ingest.stop();
    }
  } finally {
    await clickhouse.close();
    await kafka.stop();
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

if (args.help) process.stdout.write(HELP);
else await main();
