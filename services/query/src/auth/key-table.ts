import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { apiKeyQuery, apiKeysQuery } from '../sql/api-keys.js';
import type { ApiKeyRow } from '../sql/api-keys.js';
import { generateKey, hashKey } from './api-key.js';
import type { Scope } from './principal.js';

/** The rights of a new key. */
export interface NewKey {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** The only users whose sessions it may see; null for all. */
  readonly users: readonly string[] | null;
  /** Milliseconds since 1970; null for never. */
  readonly expiresAtMs: number | null;
  /** Requests in a minute; null for the configured limit. */
  readonly ratePerMinute: number | null;
  /** Principal that makes it; empty for the command line. */
  readonly createdBy: string;
}

const COLUMNS = [
  'key_id',
  'key_hash',
  'name',
  'scopes',
  'user',
  'users',
  'rate_per_minute',
  'created_by',
  'created_at',
  'expires_at',
  'revoked_at',
  'version',
] as const;

async function store(clickhouse: ClickHouse, row: ApiKeyRow, version: number): Promise<void> {
  // Processes of an earlier version read `user` alone: they must not see more than the key may.
  const cells = { ...row, user: row.users[0] ?? null, version };
  await clickhouse.insert({
    table: 'api_keys',
    columns: COLUMNS,
    format: 'JSONCompactEachRow',
    bytes: [Buffer.from(`${JSON.stringify(COLUMNS.map((name) => cells[name]))}\n`)],
    settings: { date_time_input_format: 'best_effort' },
  });
}

/** Makes a key and returns it: it is known nowhere else. */
export async function insertKey(
  clickhouse: ClickHouse,
  wanted: NewKey,
  nowMs: number,
): Promise<{ readonly key: string; readonly keyId: string }> {
  const { key, keyId } = generateKey();
  const row: ApiKeyRow = {
    key_id: keyId,
    key_hash: hashKey(key),
    name: wanted.name,
    scopes: [...new Set(wanted.scopes)],
    users: [...new Set(wanted.users)],
    rate_per_minute: wanted.ratePerMinute ?? 0,
    created_by: wanted.createdBy,
    created_at: toTimestamp(nowMs),
    expires_at: wanted.expiresAtMs === null ? null : toTimestamp(wanted.expiresAtMs),
    revoked_at: null,
  };
  await store(clickhouse, row, nowMs);
  return { key, keyId };
}

/** All keys, the oldest first. */
export async function listKeys(clickhouse: ClickHouse): Promise<ApiKeyRow[]> {
  const { sql, params, row } = apiKeysQuery();
  return clickhouse.query({ sql, params, row });
}

export async function findKey(clickhouse: ClickHouse, keyId: string): Promise<ApiKeyRow | null> {
  const { sql, params, row } = apiKeyQuery(keyId);
  const [known] = await clickhouse.query({ sql, params, row });
  return known ?? null;
}

/** Ends a key; services notice within KEY_REUSE_MS. */
export async function endKey(
  clickhouse: ClickHouse,
  known: ApiKeyRow,
  nowMs: number,
): Promise<void> {
  // Later than the row that it replaces, should a clock have been set back.
  const version = Math.max(nowMs, Date.parse(known.created_at) + 1);
  const revoked_at = known.revoked_at ?? toTimestamp(nowMs);
  await store(clickhouse, { ...known, revoked_at }, version);
}

export function keyState(key: ApiKeyRow, nowMs: number): 'valid' | 'expired' | 'revoked' {
  if (key.revoked_at !== null) return 'revoked';
  const isExpired = key.expires_at !== null && Date.parse(key.expires_at) <= nowMs;
  return isExpired ? 'expired' : 'valid';
}
