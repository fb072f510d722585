import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { clickhouseConfig, createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, ClickHouseConfig } from '@sockscope/runtime/clickhouse';
import { cloneDatabase } from '@sockscope/runtime/testing';
import { inject } from 'vitest';
import { ANSWER_TABLES } from '../store/rights.js';

const INGEST = fileURLToPath(new URL('../../../ingest/dist/main.js', import.meta.url));
/** The worlds of tests are years old by the clock of the machine. */
const KEEP_ALL = { RETENTION_TRAFFIC: '0', RETENTION_EVENTS: '0', RETENTION_PAIRS_HOURS: '0' };

export interface TestDatabase {
  readonly config: ClickHouseConfig;
  readonly clickhouse: ClickHouse;
  drop(): Promise<void>;
}

/**
 * A database of its own with the tables as the ingest service makes them: copied, or by its command if
 * rows are to expire. Merges are stopped, so that every version of a row stays.
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
    timeout_ms: 120_000,
    connections_max: 20,
    ca_file: '',
  });
  if (Object.keys(retention).length === 0) {
    const admin = createClickHouse({ ...config, database: 'default' });
    await cloneDatabase(admin, inject('clickhouseTemplate'), database);
    await admin.close();
  } else {
    const env = {
      PATH: process.env['PATH'],
      CLICKHOUSE_URL: url,
      CLICKHOUSE_DATABASE: database,
      ...KEEP_ALL,
      ...retention,
    };
    await promisify(execFile)(process.execPath, [INGEST, 'migrate'], { env });
  }
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
