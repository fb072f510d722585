import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { pickFreePort } from '@sockscope/local';
import { QUERY, startService } from './service-process.js';

export interface QueryProcess {
  /** URL without a path. */
  readonly api: string;
  stop(): Promise<void>;
}

/** Runs a command of the query service and returns its output. */
export async function queryCommand(
  clickhouse: string,
  ...args: readonly string[]
): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [QUERY, ...args], {
    env: { PATH: process.env['PATH'], CLICKHOUSE_URL: clickhouse },
  });
  return stdout.trim();
}

/** Starts a query service over a ClickHouse that runs, with settings of its own. */
export async function startQuery(
  clickhouse: string,
  env: Readonly<Record<string, string>>,
): Promise<QueryProcess> {
  const api = `127.0.0.1:${await pickFreePort()}`;
  const ops = `127.0.0.1:${await pickFreePort()}`;
  const service = await startService({
    main: QUERY,
    ops: `http://${ops}`,
    env: { CLICKHOUSE_URL: clickhouse, QUERY_LISTEN: api, QUERY_OPS_LISTEN: ops, ...env },
  });
  return {
    api: `http://${api}`,
    async stop() {
      await service.stop();
    },
  };
}
