import { durationMs, integer, listenAddress, logConfig } from '@sockscope/runtime';
import { clickhouseConfig } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';

/** Settings of the query service. Limits stand beside their defaults. */
export const queryConfig = z.object({
  listen: listenAddress().default({ host: '127.0.0.1', port: 8080 }).meta({
    env: 'QUERY_LISTEN',
    description: 'address and port of the API and the dashboard',
  }),
  http: z.object({
    request_timeout_ms: durationMs({ min: 1_000, max: 300_000 }).default(15_000).meta({
      env: 'QUERY_REQUEST_TIMEOUT',
      description: 'longest time in which a client must have sent its request',
    }),
    connections_max: integer({ min: 1, max: 100_000 }).default(4_096).meta({
      env: 'QUERY_CONNECTIONS_MAX',
      description: 'open client connections; further ones are closed at once',
    }),
  }),
  limits: z.object({
    query_timeout_ms: durationMs({ min: 100, max: 600_000 }).default(10_000).meta({
      env: 'QUERY_TIMEOUT',
      description: 'deadline of one query in ClickHouse',
    }),
    rows_to_read_max: integer({ min: 1_000 }).default(2_000_000_000).meta({
      env: 'QUERY_ROWS_TO_READ_MAX',
      description: 'rows that one query may read; beyond it is refused as too expensive',
    }),
    memory_max_bytes: integer({ min: 1_048_576 }).default(2_147_483_648).meta({
      env: 'QUERY_MEMORY_MAX_BYTES',
      description: 'memory that one query may take in ClickHouse',
    }),
  }),
  clickhouse: clickhouseConfig,
  log: logConfig,
  shutdown_deadline_ms: durationMs({ min: 1_000, max: 600_000 }).default(10_000).meta({
    env: 'SHUTDOWN_DEADLINE',
    description: 'a stop that takes longer ends the process',
  }),
});

export type QueryConfig = z.infer<typeof queryConfig>;
