import { z } from 'zod';
import { wireTime } from './columns.js';
import type { Query } from './query.js';

const apiKeyRow = z.object({
  key_id: z.string(),
  key_hash: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  user: z.string().nullable(),
  created_at: wireTime,
  expires_at: wireTime.nullable(),
  revoked_at: wireTime.nullable(),
});
export type ApiKeyRow = z.output<typeof apiKeyRow>;

const COLUMNS = 'key_id, key_hash, name, scopes, user, created_at, expires_at, revoked_at';

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
