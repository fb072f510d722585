/**
 * `npm run bench:catch-up`: how long it takes to sum a day with 24 dirty hours, and the cost of
 * each statement according to ClickHouse's log. The sessions are generated in the database. See HELP.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startClickHouse, startKafka } from '@sockscope/local';
import { clickhouseConfig, createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { copiesOf, generatedSessions } from './generated.js';
import { ingestCommand, startIngest } from './servers.js';
import type { BenchIngest } from './servers.js';
import { createTopic, startFiller } from './topic.js';
import { DEFAULT_WORKLOAD } from './workload.js';

const HELP = `npm run bench:catch-up -- [options]

  --sessions N   sessions of the day (default 20000000)
  --long N       percent of them that last up to 30 days; the others up to 5 s (default 1)
  --threads N    threads of a statement (default 1)
  --rate N       sessions a second whose events arrive through Kafka and ingest meanwhile (default 0)

Example: npm run bench:catch-up -- --sessions 1000000
`;
const firstMs = Date.UTC(2026, 2, 1);
const DAY_MS = 86_400_000;
/** The log has the cost of each statement; it is off by default in this server. */
const QUERY_LOG =
  '<clickhouse><query_log><database>system</database><table>query_log</table></query_log></clickhouse>';
const INSERT_ROWS = 2_000_000;

const { values: args } = parseArgs({
  options: {
    sessions: { type: 'string', default: '20000000' },
    long: { type: 'string', default: '1' },
    threads: { type: 'string', default: '1' },
    rate: { type: 'string', default: '0' },
    help: { type: 'boolean', default: false },
  },
});

async function main(): Promise<void> {
  const [sessions, long] = [Number(args.sessions), Number(args.long)];
  const dataDir = await mkdtemp(join(tmpdir(), 'sockscope-catch-up-'));
  const configFile = join(dataDir, 'log.xml');
  await writeFile(configFile, QUERY_LOG);
  const server = await startClickHouse({
    dataDir: join(dataDir, 'data'),
    memoryMiB: 6_144,
    configFile,
  });
  const rate = Number(args.rate);
  const kafka = rate > 0 ? await startKafka({ dataDir: join(dataDir, 'kafka') }) : null;
  const place = {
    kafka,
    server,
    topic: 'sockscope.bench.catch-up',
    database: 'sockscope',
    env: { RETENTION_TRAFFIC: '0', RETENTION_EVENTS: '0', RETENTION_PAIRS_HOURS: '0' },
  };
  const over = new AbortController();
  let arriving: BenchIngest | null = null;
  const clickhouse = createClickHouse(clickhouseConfig.parse({ url: server.url }));
  const command = (sql: string) =>
    clickhouse.command({
      sql,
      timeoutMs: 3_600_000,
      settings: { max_partitions_per_insert_block: 0 },
    });
  try {
    await ingestCommand(place, 'migrate');
    for (let from = 0; from < sessions; from += INSERT_ROWS) {
      const rows = Math.min(INSERT_ROWS, sessions - from);
      await command(
        generatedSessions({
          firstMs,
          spanMs: DAY_MS,
          from,
          rows,
          total: sessions,
          longPercent: long,
        }),
      );
    }
    for (const sql of copiesOf()) await command(sql);
    if (kafka !== null) {
      await createTopic(kafka, place.topic);
      arriving = await startIngest(place);
      const startMs = Date.now();
      const workload = { ...DEFAULT_WORKLOAD, startMs, sessionsPerSecond: rate };
      startFiller(
        {
          brokers: [kafka.address],
          topic: place.topic,
          paced: true,
          untilMs: Number.MAX_SAFE_INTEGER,
          workload: { ...workload, events: Number.MAX_SAFE_INTEGER },
        },
        over.signal,
      ).totals.catch(() => undefined);
    }
    const begunMs = performance.now();
    await ingestCommand(place, 'rollups', '--all', '--threads', args.threads);
    const seconds = (performance.now() - begunMs) / 1_000;
    await command('SYSTEM FLUSH LOGS');
    const slowest = await clickhouse.query({
      sql: `SELECT extract(query, 'INTO (\\\\w+)') AS target, count() AS statements, max(query_duration_ms) AS max_ms,
          intDiv(max(memory_usage), 1048576) AS max_mib, sum(written_rows) AS written
        FROM system.query_log
        WHERE type = 'QueryFinish' AND query_kind = 'Insert' AND query LIKE '%INTO rollup_%' GROUP BY target ORDER BY max_ms DESC`,
      row: z.object({
        target: z.string(),
        statements: int64,
        max_ms: int64,
        max_mib: int64,
        written: int64,
      }),
    });
    process.stdout.write(`${sessions} sessions summed in ${seconds.toFixed(1)} s\n`);
    for (const { target, statements, max_ms, max_mib, written } of slowest) {
      process.stdout.write(
        `  ${target}: ${statements} statements, longest ${max_ms} ms, most memory ${max_mib} MiB, ${(written / sessions).toFixed(3)} rows a session\n`,
      );
    }
    const lag = await arriving?.metric('sockscope_ingest_lag_records');
    if (lag !== undefined) process.stdout.write(`  ${lag} records were not read yet\n`);
  } finally {
    over.abort();
    await arriving?.stop();
    await clickhouse.close();
    await kafka?.stop();
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

if (args.help) process.stdout.write(HELP);
else await main();
