import type { Logger } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';

/** Uses are written together, once in this time. */
const WRITE_INTERVAL_MS = 60_000;
/** Keys whose use waits to be written; uses of further ones are not recorded. */
const WAITING_MAX = 10_000;

export interface KeyUses {
  /** Notes that a key was used just now. Costs nothing but memory. */
  note(keyId: string): void;
  /** Writes the waiting entries. A failure is logged: only the last use is missing then. */
  flush(): Promise<void>;
}

/** Remembers when keys were last used, to about a minute. Uses just before a crash are lost. */
export function createKeyUses(deps: {
  readonly clickhouse: ClickHouse;
  readonly logger: Logger;
  readonly now: () => number;
}): KeyUses {
  const waiting = new Map<string, number>();
  let timer: NodeJS.Timeout | null = null;

  async function flush(): Promise<void> {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (waiting.size === 0) return;
    const rows = [...waiting].map(([keyId, atMs]) => JSON.stringify([keyId, toTimestamp(atMs)]));
    waiting.clear();
    try {
      await deps.clickhouse.insert({
        table: 'api_key_uses',
        columns: ['key_id', 'used_at'],
        format: 'JSONCompactEachRow',
        bytes: [Buffer.from(`${rows.join('\n')}\n`)],
        settings: { date_time_input_format: 'best_effort' },
      });
    } catch (err) {
      deps.logger.warn({ err, keys: rows.length }, 'last uses of keys could not be written');
    }
  }

  return {
    note(keyId) {
      if (!waiting.has(keyId) && waiting.size >= WAITING_MAX) return;
      waiting.set(keyId, deps.now());
      timer ??= setTimeout(() => void flush(), WRITE_INTERVAL_MS).unref();
    },
    flush,
  };
}
