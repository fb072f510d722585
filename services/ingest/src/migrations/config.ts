import { durationMs, flag } from '@sockscope/runtime';
import { z } from 'zod';

const DAY_MS = 86_400_000;
/** A hundred years: further than the contract's range of times. */
const RETENTION_MAX_MS = 36_525 * DAY_MS;

function retention(env: string, defaultDays: number, what: string) {
  return durationMs({ max: RETENTION_MAX_MS })
    .default(defaultDays * DAY_MS)
    .meta({
      env,
      description: `how long to keep ${what}, in whole days; 0: permanently`,
    });
}

/** How the tables are laid out, and how long each keeps its rows. Applied by `migrate`. */
export const tablesConfig = z.object({
  cluster: z
    .string()
    .regex(/^[A-Za-z0-9_-]{0,128}$/, 'must be letters, digits, - and _')
    .default('')
    .meta({
      env: 'CLICKHOUSE_CLUSTER',
      description: 'name of the cluster in remote_servers; empty: everything on one node',
    }),
  replicated: flag().default(false).meta({
    env: 'CLICKHOUSE_CLUSTER_REPLICATED',
    description:
      'cluster only: Replicated engines (need Keeper and the macros shard and replica); also needs CLICKHOUSE_CLUSTER_REPLICATED_NOT_RUN_YET',
  }),
  replicated_not_run_yet: flag().default(false).meta({
    env: 'CLICKHOUSE_CLUSTER_REPLICATED_NOT_RUN_YET',
    description: 'confirms Replicated engines, which nobody has run with this product yet',
  }),
  ddl: z.enum(['on_cluster', 'each_node']).default('on_cluster').meta({
    env: 'CLICKHOUSE_CLUSTER_DDL',
    description:
      'cluster only: on_cluster sends DDL to every node by Keeper; with each_node you run migrate against each node',
  }),
  retention: z.object({
    sessions: retention('RETENTION_SESSIONS', 0, 'sessions'),
    session_traffic_1m: retention('RETENTION_TRAFFIC', 90, 'traffic per session and minute'),
    session_events: retention('RETENTION_EVENTS', 30, 'single events'),
    rollup_1h: retention('RETENTION_ROLLUP_HOURS', 0, 'sums per hour'),
    rollup_1d: retention('RETENTION_ROLLUP_DAYS', 0, 'sums per day'),
    rollup_pairs_1h: retention('RETENTION_PAIRS_HOURS', 90, 'sums per hour, user and destination'),
    rollup_pairs_1d: retention('RETENTION_PAIRS_DAYS', 0, 'sums per day, user and destination'),
    export_audit: retention('RETENTION_EXPORT_AUDIT', 0, 'entries of the audit log of exports'),
  }),
  query_user: z
    .string()
    .regex(/^[A-Za-z0-9_]{0,64}$/, 'must be letters, digits and underscores')
    .default('')
    .meta({
      env: 'CLICKHOUSE_QUERY_USER',
      description: 'read-only user that migrate creates for the query service; empty: none',
    }),
  query_password: z.string().default('').meta({
    env: 'CLICKHOUSE_QUERY_PASSWORD',
    description: 'password of that user',
    secret: true,
  }),
});

export type TablesConfig = z.infer<typeof tablesConfig>;
export type RetentionConfig = TablesConfig['retention'];
