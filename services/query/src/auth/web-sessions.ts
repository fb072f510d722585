import { createHash, randomBytes } from 'node:crypto';
import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { LRUCache } from 'lru-cache';
import { webSessionQuery } from '../sql/web-sessions.js';
import type { WebSessionRow } from '../sql/web-sessions.js';
import type { Gate } from '../store/gate.js';
import type { Store } from '../store/store.js';
import { KEY_REUSE_MS } from './keys.js';
import type { KeyStore } from './keys.js';
import type { Principal } from './principal.js';

/** Users must sign in again after this time. */
export const WEB_SESSION_MS = 12 * 3_600_000;
const TOKEN_BYTES = 32;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;
const REMEMBERED_MAX = 10_000;
/** How long a known session works while ClickHouse is down, so that its client sees a 503. */
const REUSE_WHEN_DOWN_MS = 300_000;

export interface WebSessions {
  /** Begins a session that acts as a key. Returns the token, which is known nowhere else. */
  begin(keyId: string): Promise<string>;
  /** Ends a session; other processes notice within KEY_REUSE_MS. What is no session is passed over. */
  end(token: string): Promise<void>;
  /** Who holds this token; null if it is unknown, has ended, or its key has. */
  principalOf(token: string, suspect: boolean): Promise<Principal | null>;
}

const COLUMNS = [
  'token_hash',
  'key_id',
  'created_at',
  'expires_at',
  'ended_at',
  'version',
] as const;

const hashOf = (token: string) => createHash('sha256').update(token).digest('hex');

/** Sessions of browsers, as ClickHouse has them, remembered for a few seconds. */
export function createWebSessions(deps: {
  readonly clickhouse: ClickHouse;
  readonly store: Store;
  readonly keys: KeyStore;
  /** What guesses wait at. */
  readonly suspects: Gate;
  readonly now: () => number;
}): WebSessions {
  const { clickhouse, store, keys, now } = deps;
  const remembered = new LRUCache<string, { row: WebSessionRow | null; atMs: number }>({
    max: REMEMBERED_MAX,
  });

  async function write(row: WebSessionRow, version: number): Promise<void> {
    const cells = { ...row, version };
    await clickhouse.insert({
      table: 'web_sessions',
      columns: COLUMNS,
      format: 'JSONCompactEachRow',
      bytes: [Buffer.from(`${JSON.stringify(COLUMNS.map((name) => cells[name]))}\n`)],
      settings: { date_time_input_format: 'best_effort' },
    });
    remembered.set(row.token_hash, { row, atMs: now() });
  }

  async function rowOf(token: string, suspect: boolean): Promise<WebSessionRow | null> {
    if (!TOKEN.test(token)) return null;
    const hash = hashOf(token);
    const known = remembered.get(hash);
    const ageMs = known === undefined ? Infinity : now() - known.atMs;
    if (known !== undefined && ageMs < KEY_REUSE_MS) return known.row;
    try {
      const { signal } = new AbortController();
      const ask = () => store.ask(webSessionQuery(hash), { signal });
      const [row = null] = await (suspect ? deps.suspects.pass({ signal }, ask) : ask());
      remembered.set(hash, { row, atMs: now() });
      return row;
    } catch (error) {
      const isDown = error instanceof ClickHouseError && error.retryable;
      if (isDown && known !== undefined && ageMs < REUSE_WHEN_DOWN_MS) return known.row;
      throw error;
    }
  }

  const isLive = (row: WebSessionRow) =>
    row.ended_at === null && Date.parse(row.expires_at) > now();

  return {
    async begin(keyId) {
      const token = randomBytes(TOKEN_BYTES).toString('base64url');
      const nowMs = now();
      await write(
        {
          token_hash: hashOf(token),
          key_id: keyId,
          created_at: toTimestamp(nowMs),
          expires_at: toTimestamp(nowMs + WEB_SESSION_MS),
          ended_at: null,
        },
        nowMs,
      );
      return token;
    },
    async end(token) {
      const row = await rowOf(token, false);
      if (row === null || !isLive(row)) return;
      // Later than the row that it replaces, should a clock have been set back.
      const version = Math.max(now(), Date.parse(row.created_at) + 1);
      await write({ ...row, ended_at: toTimestamp(now()) }, version);
    },
    async principalOf(token, suspect) {
      const row = await rowOf(token, suspect);
      return row === null || !isLive(row) ? null : keys.principalOfId(row.key_id);
    },
  };
}
