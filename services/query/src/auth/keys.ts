import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import { LRUCache } from 'lru-cache';
import { apiKeyQuery } from '../sql/api-keys.js';
import type { ApiKeyRow } from '../sql/api-keys.js';
import type { Gate } from '../store/gate.js';
import type { Store } from '../store/store.js';
import { isKeyOf, keyIdOf } from './api-key.js';
import { isScope } from './principal.js';
import type { KeyUses } from './key-uses.js';
import type { Principal } from './principal.js';

/** A revoked key works no longer than this; with RECHECK_INTERVAL_MS of streams it is ten seconds. */
export const KEY_REUSE_MS = 5_000;
/** How long a known key works while ClickHouse is down, so that its client sees a 503. */
const KEY_REUSE_WHEN_DOWN_MS = 300_000;
const KEYS_REMEMBERED_MAX = 10_000;

export interface KeyStore {
  /**
   * The principal of this key; null if it is unknown, wrong, expired or revoked.
   *
   * @param suspect the network that it came from if it may be a guess, one of many: then looking it up waits for a
   *   place, of which each network has a share; else null.
   * @throws ProblemError overloaded if too many such wait.
   */
  principalOf(key: string, suspect: string | null): Promise<Principal | null>;
  /** The principal of the key with this id; null if it is unknown, expired or revoked. */
  principalOfId(keyId: string): Promise<Principal | null>;
}

interface Known {
  readonly row: ApiKeyRow | null;
  readonly atMs: number;
}

/** Keys as ClickHouse has them, remembered for a few seconds. */
export function createKeyStore(deps: {
  readonly store: Store;
  /** The gate at which guesses wait, so that they cannot keep ClickHouse busy. */
  readonly suspects: Gate;
  readonly uses: KeyUses;
  readonly now: () => number;
}): KeyStore {
  const remembered = new LRUCache<string, Known>({ max: KEYS_REMEMBERED_MAX });

  async function rowOf(keyId: string, suspect: string | null): Promise<ApiKeyRow | null> {
    const known = remembered.get(keyId);
    const ageMs = known === undefined ? Infinity : deps.now() - known.atMs;
    if (known !== undefined && ageMs < KEY_REUSE_MS) return known.row;
    try {
      // One for each, never fired: waiters of a shared one would accumulate on it.
      const { signal } = new AbortController();
      const ask = () => deps.store.ask(apiKeyQuery(keyId), { signal });
      const [row = null] = await (suspect === null
        ? ask()
        : deps.suspects.pass({ signal, share: suspect }, ask));
      remembered.set(keyId, { row, atMs: deps.now() });
      return row;
    } catch (error) {
      const isDown = error instanceof ClickHouseError && error.retryable;
      if (isDown && known !== undefined && ageMs < KEY_REUSE_WHEN_DOWN_MS) return known.row;
      throw error;
    }
  }

  function principalOfRow(row: ApiKeyRow | null): Principal | null {
    if (row === null || row.revoked_at !== null) return null;
    if (row.expires_at !== null && Date.parse(row.expires_at) <= deps.now()) return null;
    deps.uses.note(row.key_id);
    return {
      id: `key:${row.key_id}`,
      kind: 'key',
      scopes: new Set(row.scopes.filter(isScope)),
      users: row.users.length === 0 ? null : row.users,
      expiresAtMs: row.expires_at === null ? null : Date.parse(row.expires_at),
      ratePerMinute: row.rate_per_minute === 0 ? null : row.rate_per_minute,
    };
  }

  return {
    principalOfId: async (keyId) => principalOfRow(await rowOf(keyId, null)),
    async principalOf(key, suspect) {
      const keyId = keyIdOf(key);
      if (keyId === null) return null;
      const row = await rowOf(keyId, suspect);
      return row === null || !isKeyOf(key, row.key_hash) ? null : principalOfRow(row);
    },
  };
}
