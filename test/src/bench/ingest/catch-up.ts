/**
 * `npm run bench:catch-up`: how long it takes to sum a day of which every hour is dirty, and what each
 * statement costs ClickHouse by its own log. The sessions are generated in the database. See HELP.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startClickHouse } from '@sockscope/local';
import { clickhouseConfig, createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';

const HELP = `npm run bench:catch-up -- [options]

  --sessions N   sessions of the day (default 20000000)
  --long N       percent of them that last up to 30 days; the others up to 5 s (default 1)
  --threads N    threads of a statement (default 1)

Example: npm run bench:catch-up -- --sessions 1000000
`;
const DAY = '2026-03-01';
/** What each statement took is in the log, which is off by default in this server. */
const QUERY_LOG =
  '<clickhouse><query_log><database>system</database><table>query_log</table></query_log></clickhouse>';
const INSERT_ROWS = 2_000_000;
const INGEST = fileURLToPath(new URL('../../../../services/ingest/dist/main.js', import.meta.url));

const { values: args } = parseArgs({
  options: {
    sessions: { type: 'string', default: '20000000' },
    long: { type: 'string', default: '1' },
    threads: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
});

/** Users and destinations by a power law, sources evenly. */
const generated = (from: number, rows: number, total: number, long: number): string => `
INSERT INTO sessions (session_id, seq, proxy_id, proxy_epoch, started_at, user, source_ip, source_port,
    dest_host, dest_port, protocol, command, auth_method, acl_decision, bytes_sent, bytes_received,
    packets_sent, packets_received, status, close_reason, updated_at, ended_at, duration_ms, version)
SELECT generateUUIDv4(), 1, concat('proxy-', toString(number % 10)), 1,
    toDateTime64('${DAY} 00:00:00', 3, 'UTC') + toIntervalMillisecond(intDiv(number * 86400000, ${total})) AS start,
    concat('user-', toString(toUInt32(pow(10000, randCanonical(1))))),
    toIPv6(concat('::ffff:10.0.', toString(rand(2) % 120), '.', toString(rand(3) % 250))), 1,
    concat('host-', toString(toUInt32(pow(200000, randCanonical(4)))), '.example'), 443,
    'tcp', 'connect', 'none', 'allow', 500, 5000, 3, 5, 'closed', 'client_eof', start,
    start + toIntervalMillisecond(duration),
    if(rand(5) % 100 < ${long}, rand(6) % 2592000000, rand(7) % 5000) AS duration, 2
FROM numbers(${from}, ${rows})`;

const COPIES = [
  `INSERT INTO session_traffic_1m (bucket, user, dest_host, session_id, started_at, proxy_id, source_ip, dest_port, protocol, bytes_sent, bytes_received, packets_sent, packets_received)
   SELECT toStartOfMinute(started_at), user, dest_host, session_id, started_at, proxy_id, source_ip, dest_port, protocol, bytes_sent, bytes_received, packets_sent, packets_received FROM sessions`,
  `INSERT INTO session_ends (ended_at, started_at, session_id) SELECT assumeNotNull(ended_at), started_at, session_id
   FROM sessions WHERE toStartOfHour(assumeNotNull(ended_at)) != toStartOfHour(started_at)`,
];

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
  const env = {
    PATH: process.env['PATH'] ?? '',
    CLICKHOUSE_URL: server.url,
    LOG_LEVEL: 'warn',
    RETENTION_TRAFFIC: '0',
    RETENTION_EVENTS: '0',
    RETENTION_PAIRS_HOURS: '0',
  };
  const ingest = async (...command: string[]) => {
    const child = spawn(process.execPath, [INGEST, ...command], {
      env,
      stdio: 'ignore',
    });
    const [code] = (await once(child, 'exit')) as [number];
    if (code !== 0) throw new Error(`ingest ${command.join(' ')} ended with ${code}`);
  };
  const clickhouse = createClickHouse(clickhouseConfig.parse({ url: server.url }));
  const command = (sql: string) =>
    clickhouse.command({
      sql,
      timeoutMs: 3_600_000,
      settings: { max_partitions_per_insert_block: 0 },
    });
  try {
    await ingest('migrate');
    for (let from = 0; from < sessions; from += INSERT_ROWS) {
      const rows = Math.min(INSERT_ROWS, sessions - from);
      await command(generated(from, rows, sessions, long));
    }
    for (const sql of COPIES) await command(sql);
    const begunMs = performance.now();
    await ingest('rollups', '--all', '--threads', args.threads);
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
  } finally {
    await clickhouse.close();
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

if (args.help) process.stdout.write(HELP);
else await main();
