import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { clickhouseConfig, createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, ClickHouseConfig } from '@sockscope/runtime/clickhouse';
import { ANSWER_TABLES } from '../store/rights.js';

const INGEST = fileURLToPath(new URL('../../../ingest/dist/main.js', import.meta.url));
const MIGRATE_TIMEOUT_MS = 60_000;
/** The worlds of tests are years old by the clock of the machine. */
const KEEP_ALL = { RETENTION_TRAFFIC: '0', RETENTION_EVENTS: '0', RETENTION_PAIRS_HOURS: '0' };

export interface TestDatabase {
  readonly config: ClickHouseConfig;
  readonly clickhouse: ClickHouse;
  drop(): Promise<void>;
}

/**
 * A database of its own with the tables as the ingest service makes them: by its command, because
 * no service imports another. Merges are stopped, so that every version of a row stays.
 *
 * @param retention settings of the ingest service, such as RETENTION_SESSIONS; by default nothing expires.
 */
export async function createTestDatabase(
  url: string,
  retention: Readonly<Record<string, string>> = {},
): Promise<TestDatabase> {
  const database = `query_${randomBytes(5).toString('hex')}`;
  const config = clickhouseConfig.parse({
    url,
    user: 'default',
    password: '',
    database,
    timeout_ms: 30_000,
    connections_max: 20,
    ca_file: '',
  });
  await promisify(execFile)(process.execPath, [INGEST, 'migrate'], {
    env: {
      PATH: process.env['PATH'],
      CLICKHOUSE_URL: url,
      CLICKHOUSE_DATABASE: database,
      ...KEEP_ALL,
      ...retention,
    },
    timeout: MIGRATE_TIMEOUT_MS,
  });
  const clickhouse = createClickHouse(config);
  for (const table of ANSWER_TABLES) {
    await clickhouse.command({ sql: `SYSTEM STOP MERGES ${database}.${table}` });
  }
  return {
    config,
    clickhouse,
    async drop() {
      await clickhouse.command({ sql: `DROP DATABASE IF EXISTS ${database} SYNC` });
      await clickhouse.close();
    },
  };
}
