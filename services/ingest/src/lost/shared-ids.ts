/**
 * Finds live proxies that share one `proxy_id`. Ingest would take the older one for dead and
 * declare its open sessions lost early. Queries by proxy would show two proxies as one.
 */
import type { Logger } from '@sockscope/runtime';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import type { LostMetrics } from './metrics.js';

/** Two processes that both sent events. Starts in milliseconds since 1970. */
export interface SharedId {
  readonly proxyId: string;
  readonly olderStartMs: number;
  readonly newerStartMs: number;
}

/** Only events that were stored within this time are read. */
const WINDOW_S = 300;
/**
 * An old process may run for this long beside its successor, because the clock was set back or because
 * it finishes its connections.
 */
const OVERLAP_MS = 120_000;
/** Maximum number of names in one search. */
const NAMES_MAX = 20;

/** Returns the ids whose older process still sends events long after the newer one has started. */
async function findSharedIds(
  clickhouse: Pick<ClickHouse, 'query'>,
  signal: AbortSignal,
): Promise<SharedId[]> {
  const rows = await clickhouse.query({
    // An end that was assumed for a process is written by the next one.
    sql: `SELECT proxy, tupleElement(arraySort(each -> -tupleElement(each, 1), processes)[2], 1) AS older_start_ms,
          arrayMax(tupleElement(processes, 1)) AS newer_start_ms
        FROM (
          SELECT proxy, groupArray((toInt64(epoch), newest_ms)) AS processes
          FROM (
            SELECT toString(proxy_id) AS proxy, proxy_epoch AS epoch, max(toUnixTimestamp64Milli(occurred_at)) AS newest_ms
            FROM session_events
            WHERE ingested_at > now64(3) - toIntervalSecond({window_s:UInt32}) AND NOT assumed
            GROUP BY proxy, epoch
          )
          GROUP BY proxy HAVING count() > 1
        )
        WHERE tupleElement(arraySort(each -> -tupleElement(each, 1), processes)[2], 2) > newer_start_ms + {overlap_ms:Int64}
        ORDER BY proxy LIMIT {limit:UInt32}`,
    params: { window_s: WINDOW_S, overlap_ms: OVERLAP_MS, limit: NAMES_MAX },
    row: z.object({ proxy: z.string(), older_start_ms: int64, newer_start_ms: int64 }),
    signal,
  });
  return rows.map(({ proxy, older_start_ms, newer_start_ms }) => ({
    proxyId: proxy,
    olderStartMs: older_start_ms,
    newerStartMs: newer_start_ms,
  }));
}

/** Returns a function that searches and logs each id once, until a search no longer finds it. */
export function createSharedIds(deps: {
  readonly clickhouse: Pick<ClickHouse, 'query'>;
  readonly logger: Logger;
  readonly metrics: LostMetrics;
}): (signal: AbortSignal) => Promise<readonly SharedId[]> {
  let told = new Set<string>();
  return async (signal) => {
    const found = await findSharedIds(deps.clickhouse, signal);
    deps.metrics.sharedIds.set(found.length);
    for (const { proxyId, olderStartMs, newerStartMs } of found) {
      if (told.has(proxyId)) continue;
      deps.logger.error(
        { proxy_id: proxyId },
        `Two live proxies use proxy_id ${JSON.stringify(proxyId)}: one started at ${textOf(olderStartMs)}, the other at ${textOf(newerStartMs)}. Set another PROXY_ID on one of them; until then, open sessions of the older one may be shown as lost.`,
      );
    }
    told = new Set(found.map(({ proxyId }) => proxyId));
    return found;
  };
}

function textOf(ms: number): string {
  return new Date(ms).toISOString();
}
