import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { ClickHouseConfig } from '@sockscope/runtime/clickhouse';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** The real service as a process, on ports of its own. */
export interface QueryService {
  /** Ports of the users' listener and of the operations listener. */
  readonly port: number;
  readonly ops: number;
  stop(): Promise<void>;
}

/** Starts it, and does not wait until it is ready. `env` adds settings. */
export async function startQuery(
  { url, database }: ClickHouseConfig,
  env: Readonly<Record<string, string>> = {},
): Promise<QueryService> {
  const [port = 0, ops = 0] = await freePorts(2);
  const service = spawn(process.execPath, [MAIN], {
    env: {
      PATH: process.env['PATH'],
      QUERY_LISTEN: `127.0.0.1:${port}`,
      QUERY_OPS_LISTEN: `127.0.0.1:${ops}`,
      CLICKHOUSE_URL: url,
      CLICKHOUSE_DATABASE: database,
      ...env,
    },
    stdio: 'ignore',
  });
  const ended = once(service, 'exit');
  return {
    port,
    ops,
    async stop() {
      service.kill('SIGTERM');
      await ended;
    },
  };
}

/** Ports that nobody listens at. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
