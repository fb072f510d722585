import { z } from 'zod';
import { wireTime } from './columns.js';
import type { Query } from './query.js';

const webSessionRow = z.object({
  token_hash: z.string(),
  key_id: z.string(),
  account: z.string(),
  sealed_id_token: z.string(),
  created_at: wireTime,
  expires_at: wireTime,
  ended_at: wireTime.nullable(),
});
export type WebSessionRow = z.output<typeof webSessionRow>;

const SELECT = `SELECT token_hash, key_id, account, sealed_id_token, created_at, expires_at, ended_at
      FROM web_sessions FINAL`;

export function webSessionQuery(tokenHash: string): Query<typeof webSessionRow> {
  return {
    name: 'web_session',
    sql: `${SELECT} WHERE token_hash = {token_hash:String}`,
    params: { token_hash: tokenHash },
    row: webSessionRow,
  };
}

/** Sessions that have not ended, the newest first. */
export function liveWebSessionsQuery(nowMs: number, limit: number): Query<typeof webSessionRow> {
  return {
    name: 'web_sessions',
    sql: `${SELECT}
      WHERE ended_at IS NULL AND expires_at > fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC')
      ORDER BY created_at DESC, token_hash LIMIT {limit:UInt32}`,
    params: { now_ms: nowMs, limit },
    row: webSessionRow,
  };
}
