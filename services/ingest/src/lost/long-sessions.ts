/**
 * Ends that `long_sessions` lacks: of sessions that ended while an ingest of a former version ran, or whose events
 * have times that run backwards. Such a session would be open there for ever, and questions for open sessions would
 * read all that is kept since its start.
 */
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { SESSION_NAMES } from '../tables/columns.js';

/** They are rare: only after an update, or if a clock is wrong. */
const INTERVAL_MS = 600_000;

const KEY = 'started_at, session_id';
const OPEN = `SELECT ${KEY} FROM long_sessions FINAL WHERE status = 'active' AND (${KEY}) IN (
    SELECT ${KEY} FROM long_sessions WHERE status = 'active')`;
const COPY_ENDS = `INSERT INTO long_sessions (${SESSION_NAMES.join(', ')})
  SELECT ${SESSION_NAMES.join(', ')} FROM sessions FINAL
  WHERE status != 'active' AND (${KEY}) IN (${OPEN})`;

/** Copies them. Called again too early, it does nothing. */
export function createLongSessions(
  clickhouse: Pick<ClickHouse, 'command'>,
): (signal: AbortSignal) => Promise<void> {
  let copiedMs = Number.NEGATIVE_INFINITY;
  return async (signal) => {
    if (performance.now() - copiedMs < INTERVAL_MS) return;
    await clickhouse.command({
      sql: COPY_ENDS,
      settings: {
        distributed_product_mode: 'local',
        distributed_foreground_insert: 1,
        async_insert: 0,
        max_partitions_per_insert_block: 0,
      },
      signal,
    });
    copiedMs = performance.now();
  };
}
