import { createHash, randomBytes } from 'node:crypto';
import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { SCOPES, SIGN_INS_MAX } from '@sockscope/schemas/api';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { liveWebSessionsQuery, webSessionQuery } from '../sql/web-sessions.js';
import type { WebSessionRow } from '../sql/web-sessions.js';
import type { Gate } from '../store/gate.js';
import type { Asking, Store } from '../store/store.js';
import { KEY_REUSE_MS } from './keys.js';
import type { KeyStore } from './keys.js';
import type { Account } from './oidc.js';
import type { Principal } from './principal.js';
import { seal, unseal } from './sealed.js';

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
  /** The same for an account, with the token by which its provider knows it when it signs out. */
  beginAccount(account: Account, idToken: string | null): Promise<string>;
  /** The provider's token of an account; null if there is none. */
  idTokenOf(token: string): Promise<string | null>;
  /** Ends a session; other processes notice within KEY_REUSE_MS. A text that is not a session is passed over. */
  end(token: string): Promise<void>;
  /** The newest that have not ended; one more than SIGN_INS_MAX if there are more. */
  live(asking: Asking): Promise<LiveSession[]>;
  /** The live session with this hash of its token; null if there is none. */
  find(id: string, asking: Asking): Promise<LiveSession | null>;
  /** Ends it, as `end` does. */
  endById(id: string, asking: Asking): Promise<void>;
  /**
   * The principal of this token; null if it is unknown or has ended, or its key has ended.
   *
   * @param suspect as for keys.
   */
  principalOf(token: string, suspect: string | null): Promise<Principal | null>;
}

export interface LiveSession {
  /** The hash of its token. */
  readonly id: string;
  /** The id of its principal. */
  readonly principal: string;
  readonly createdAt: string;
  readonly expiresAt: string;
}

const COLUMNS = [
  'token_hash',
  'key_id',
  'account',
  'sealed_id_token',
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
  /** Whether sessions of keys and of accounts still count (QUERY_AUTH). */
  readonly takesKeys: boolean;
  readonly takesAccounts: boolean;
  /** The gate at which guesses wait. */
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

  async function rowOf(token: string, suspect: string | null): Promise<WebSessionRow | null> {
    if (!TOKEN.test(token)) return null;
    const hash = hashOf(token);
    const known = remembered.get(hash);
    const ageMs = known === undefined ? Infinity : now() - known.atMs;
    if (known !== undefined && ageMs < KEY_REUSE_MS) return known.row;
    try {
      const { signal } = new AbortController();
      const ask = () => store.ask(webSessionQuery(hash), { signal });
      const [row = null] = await (suspect === null
        ? ask()
        : deps.suspects.pass({ signal, share: suspect }, ask));
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

  async function end(row: WebSessionRow | null): Promise<void> {
    if (row === null || !isLive(row)) return;
    // Later than the row that it replaces, should a clock have been set back.
    const version = Math.max(now(), Date.parse(row.created_at) + 1);
    await write({ ...row, ended_at: toTimestamp(now()) }, version);
  }

  const shown = (row: WebSessionRow): LiveSession => ({
    id: row.token_hash,
    principal:
      row.account === ''
        ? `key:${row.key_id}`
        : accountPrincipal(storedAccount.parse(JSON.parse(row.account)), row.expires_at).id,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  });

  async function begin(
    who: (token: string) => Pick<WebSessionRow, 'key_id' | 'account' | 'sealed_id_token'>,
  ): Promise<string> {
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    const nowMs = now();
    await write(
      {
        token_hash: hashOf(token),
        ...who(token),
        created_at: toTimestamp(nowMs),
        expires_at: toTimestamp(nowMs + WEB_SESSION_MS),
        ended_at: null,
      },
      nowMs,
    );
    return token;
  }

  return {
    begin: (keyId) => begin(() => ({ key_id: keyId, account: '', sealed_id_token: '' })),
    beginAccount: (account, idToken) =>
      begin((token) => ({
        key_id: '',
        account: JSON.stringify(account),
        sealed_id_token: idToken === null ? '' : seal(idToken, token),
      })),
    async idTokenOf(token) {
      const row = await rowOf(token, null);
      return row === null ? null : unseal(row.sealed_id_token, token);
    },
    async end(token) {
      await end(await rowOf(token, null));
    },
    async live(asking) {
      const rows = await store.ask(liveWebSessionsQuery(now(), SIGN_INS_MAX + 1), asking);
      return rows.map(shown);
    },
    async find(id, asking) {
      const [row = null] = await store.ask(webSessionQuery(id), asking);
      return row === null || !isLive(row) ? null : shown(row);
    },
    async endById(id, asking) {
      const [row = null] = await store.ask(webSessionQuery(id), asking);
      await end(row);
    },
    async principalOf(token, suspect) {
      const row = await rowOf(token, suspect);
      if (row === null || !isLive(row)) return null;
      if (row.account === '') return deps.takesKeys ? keys.principalOfId(row.key_id) : null;
      if (!deps.takesAccounts) return null;
      return accountPrincipal(storedAccount.parse(JSON.parse(row.account)), row.expires_at);
    },
  };
}

const storedAccount = z.object({
  subject: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  users: z.array(z.string()).min(1).nullable(),
});

/** @param expiresAt when its session ends; null while it has none. */
export function accountPrincipal(account: Account, expiresAt: string | null): Principal {
  return {
    id: `account:${account.subject}`,
    kind: 'account',
    scopes: new Set(account.scopes),
    users: account.users,
    expiresAtMs: expiresAt === null ? null : Date.parse(expiresAt),
    ratePerMinute: null,
  };
}
