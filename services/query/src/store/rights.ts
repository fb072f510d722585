import { tryReading, tryWriting } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { remembered } from './remembered.js';

/** Tables that answers come from. */
export const ANSWER_TABLES = [
  'sessions',
  'sessions_by_user',
  'sessions_by_destination',
  'long_sessions',
  'session_traffic_1m',
  'session_events',
  'ended_sessions',
  'session_ends',
  'rollup_10m',
  'rollup_1h',
  'rollup_1d',
  'rollup_1w',
  'rollup_pairs_1h',
  'rollup_pairs_1d',
  'rollup_sketches_1h',
  'rollup_sketches_1d',
] as const;

/** Tables of the service itself: keys, sign-ins, notes, the audit log. */
export const WRITTEN_TABLES = [
  'export_audit',
  'web_sessions',
  'api_keys',
  'api_key_uses',
  'annotations',
] as const;

/** A right may be revoked while we run; balancers ask much more often. */
const REUSE_MS = 10_000;

/** Each throws a ClickHouseError that names the missing right and the statement that grants it. */
export interface Rights {
  read(): Promise<void>;
  write(): Promise<void>;
}

export function createRights({ clickhouse }: { readonly clickhouse: ClickHouse }): Rights {
  return {
    read: remembered(() => tryReading(clickhouse, ANSWER_TABLES), REUSE_MS),
    write: remembered(async () => {
      for (const table of WRITTEN_TABLES) await tryWriting(clickhouse, table);
    }, REUSE_MS),
  };
}
