/** The table of `verify` that holds a topic's events as they are. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { int64, quoteIdentifier } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { count, text, time } from './event-json.js';
import { readEvents } from './read-events.js';
import type { VerifyConfig, VerifyDeps } from './verify-report.js';

const TABLE_PREFIX = 'ingest_verify_';
/** The table of a process on another machine is taken for left after this time. */
const LEFT_AFTER_S = 86_400;
const CHUNK_RECORDS = 50_000;

/** Makes an empty table and drops the tables of killed runs. @returns its name. */
export async function createTopicTable(clickhouse: ClickHouse): Promise<string> {
  const name = `${TABLE_PREFIX}${randomBytes(4).toString('hex')}`;
  await dropLeftTables(clickhouse);
  await clickhouse.command({
    sql: `CREATE TABLE ${name} (
        partition UInt32, value String CODEC(ZSTD(1)),
        session_id UUID DEFAULT toUUID(${text('session_id')}), seq UInt32 DEFAULT ${count('seq')},
        started_at DateTime64(3, 'UTC') DEFAULT ${time('started_at')}
      ) ENGINE = MergeTree ORDER BY (session_id, seq) COMMENT '${ownerOf(process.pid)}'`,
  });
  return name;
}

/** Puts the topic's events into the table as they are. */
export async function loadTopic(config: VerifyConfig, table: string, deps: VerifyDeps) {
  const records = new Map<number, number>();
  const poison = new Map<number, number>();
  const { range } = config;
  let lines: string[] = [];

  async function flush(): Promise<void> {
    const bytes = [Buffer.from(lines.join('\n'))];
    lines = [];
    await deps.clickhouse.insert({
      table,
      columns: ['partition', 'value'],
      format: 'JSONCompactEachRow',
      bytes,
      timeoutMs: config.timeoutMs,
    });
  }

  const stops = await readEvents(
    config.kafka,
    { ...deps, signal: config.signal },
    {
      event(partition, { startedAtMs }, { bytes, valueStart, valueLength }) {
        add(records, partition);
        if (range !== undefined && (startedAtMs < range.fromMs || startedAtMs >= range.toMs))
          return;
        const value = bytes.toString('utf8', valueStart, valueStart + valueLength);
        lines.push(JSON.stringify([partition, value]));
      },
      poison(partition) {
        add(records, partition);
        add(poison, partition);
      },
      async flush() {
        if (lines.length >= CHUNK_RECORDS) await flush();
      },
      progress(done, total) {
        deps.onProgress(done, total, 'records read');
      },
    },
  );
  if (lines.length > 0) await flush();
  return { records, poison, stops };
}

function add(counts: Map<number, number>, partition: number): void {
  counts.set(partition, (counts.get(partition) ?? 0) + 1);
}

/** Names the owner of a table, so that tables of dead processes can be found. */
function ownerOf(pid: number): string {
  return `${hostname()} ${pid}`;
}

/** Drops the tables of runs that were killed. */
async function dropLeftTables(clickhouse: ClickHouse): Promise<void> {
  const tables = await clickhouse.query({
    sql: `SELECT name, comment, dateDiff('second', metadata_modification_time, now()) AS age_s
      FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String})`,
    params: { database: clickhouse.database, prefix: TABLE_PREFIX },
    row: z.object({ name: z.string(), comment: z.string(), age_s: int64 }),
  });
  for (const { name, comment, age_s } of tables) {
    const [host = '', pid = ''] = comment.split(' ');
    const isLeft = host === hostname() ? !isRunning(Number(pid)) : age_s > LEFT_AFTER_S;
    if (isLeft)
      await clickhouse.command({ sql: `DROP TABLE IF EXISTS ${quoteIdentifier(name)} SYNC` });
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
