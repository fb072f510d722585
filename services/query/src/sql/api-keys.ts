import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import type { Query } from './query.js';

const apiKeyRow = z.object({
  key_id: z.string(),
  key_hash: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  /** The only users whose sessions the key may see; empty for all. */
  users: z.array(z.string()),
  /** 0 for the configured limit. */
  rate_per_minute: int64,
  created_by: z.string(),
  created_at: wireTime,
  expires_at: wireTime.nullable(),
  revoked_at: wireTime.nullable(),
});
export type ApiKeyRow = z.output<typeof apiKeyRow>;

const COLUMNS =
  'key_id, key_hash, name, scopes, users, rate_per_minute, created_by, created_at, expires_at, revoked_at';

export function apiKeyQuery(keyId: string): Query<typeof apiKeyRow> {
  return {
    name: 'api_key',
    sql: `SELECT ${COLUMNS} FROM api_keys FINAL WHERE key_id = {key_id:String}`,
    params: { key_id: keyId },
    row: apiKeyRow,
  };
}

export function apiKeysQuery(): Query<typeof apiKeyRow> {
  return {
    name: 'api_keys',
    sql: `SELECT ${COLUMNS} FROM api_keys FINAL ORDER BY created_at, key_id`,
    params: {},
    row: apiKeyRow,
  };
}

const keyUseRow = z.object({ key_id: z.string(), used_at: wireTime });

export function keyUsesQuery(): Query<typeof keyUseRow> {
  return {
    name: 'api_key_uses',
    sql: 'SELECT key_id, max(e.used_at) AS used_at FROM api_key_uses AS e GROUP BY key_id',
    params: {},
    row: keyUseRow,
    settings: { prefer_column_name_to_alias: 1 },
  };
}
