import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, Settings } from '@sockscope/runtime/clickhouse';
import { LRUCache } from 'lru-cache';
import type { z } from 'zod';
import { ROW_SETTINGS } from '../sql/columns.js';
import type { Query } from '../sql/query.js';
import { createFlights } from './flights.js';
import type { LongSessions } from './long-sessions.js';
import type { StoreMetrics } from './metrics.js';
import type { Retention } from './retention.js';
import { extrapolating, hasTooManyRows, stoodStill, tooMuchOf } from './too-much.js';

/** Bounds of one query, enforced by ClickHouse and by us. */
export interface StoreConfig {
  readonly query_timeout_ms: number;
  readonly rows_to_read_max: number;
  readonly memory_max_bytes: number;
  /** How long answers about sums are shared; 0 asks each time. */
  readonly reuse_ms: number;
}

/** How one request asks: it may go away. */
export interface Asking {
  readonly signal: AbortSignal;
  /** Threads of ClickHouse; fewer if one request asks many things at once. Default: all cores. */
  readonly threads?: number | undefined;
}

interface Sending extends Asking {
  /** Fewer rows to read than questions may in general. */
  readonly rowsMax?: number | undefined;
}

/** Puts questions to ClickHouse within limits, each once at a time, and measures them. */
export interface Store {
  /** The rows are shared with other callers of the same question: do not change them. */
  ask<Row extends z.ZodType>(query: Query<Row>, asking: Asking): Promise<readonly z.output<Row>[]>;
  /** The same; null, and nothing is read, if ClickHouse would read more rows than this. */
  askWithin<Row extends z.ZodType>(
    query: Query<Row>,
    rowsMax: number,
    asking: Asking,
  ): Promise<readonly z.output<Row>[] | null>;
  ping(): Promise<void>;
}

/** Length of a statement. */
const QUERY_MAX_BYTES = 1_048_576;
const ANSWERS_REMEMBERED_MAX = 512;
/** A longer answer is not remembered. */
const ROWS_REMEMBERED_MAX = 5_000;
/** Rows of all remembered answers together. Beyond it, the least recently used are forgotten. */
const ROWS_HELD_MAX = 100_000;

/** Waits for what must be known before a statement can be sent; its time is bounded, too. */
async function inTime<T>(known: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new ClickHouseError('clickhouse_timeout', 'no answer in time', { retryable: true }));
    }, ms);
  });
  try {
    return await Promise.race([known, over]);
  } finally {
    clearTimeout(timer);
  }
}

export function createStore(
  config: StoreConfig,
  deps: {
    readonly clickhouse: ClickHouse;
    readonly metrics: StoreMetrics;
    readonly retention: Retention;
    readonly longSessions: LongSessions;
    /** Milliseconds since 1970. */
    readonly now: () => number;
  },
): Store {
  const { clickhouse, metrics, retention, longSessions } = deps;
  const settings = {
    ...ROW_SETTINGS,
    // Dozens of changed hours and slices stand in a statement with their bounds; the default is a quarter of this.
    max_query_size: QUERY_MAX_BYTES,
    max_rows_to_read: config.rows_to_read_max,
    max_memory_usage: config.memory_max_bytes,
    // The server gives up by itself a little after us, should our closing not reach it.
    max_execution_time: Math.ceil(config.query_timeout_ms / 1_000) + 1,
    timeout_overflow_mode: 'throw',
  };
  const early = extrapolating(config.query_timeout_ms);
  const flights = createFlights<readonly unknown[]>();
  const remembered = new LRUCache<string, readonly unknown[]>({
    max: ANSWERS_REMEMBERED_MAX,
    maxSize: ROWS_HELD_MAX,
    maxEntrySize: ROWS_REMEMBERED_MAX,
    sizeCalculation: (rows) => Math.max(1, rows.length),
    ttl: config.reuse_ms,
    // Each look at the clock counts, or an answer would be older than it may be.
    ttlResolution: 0,
  });

  async function send(asked: Query, { signal, threads, rowsMax }: Sending) {
    const end = metrics.duration.startTimer({ query: asked.name });
    const untilMs = performance.now() + config.query_timeout_ms;
    let query = asked;
    try {
      const [bound, hidden] = await inTime(
        Promise.all([
          longSessions.bind(asked),
          asked.seesExpired === true ? {} : retention.settings(),
        ]),
        config.query_timeout_ms,
      );
      query = bound;
      const run = (more: Settings) =>
        clickhouse.queryWithCost({
          sql: query.sql,
          params: query.params,
          row: query.row,
          settings: {
            ...settings,
            ...more,
            ...hidden,
            ...query.settings,
            ...(threads === undefined ? {} : { max_threads: threads }),
            ...(rowsMax === undefined ? {} : { max_rows_to_read: rowsMax }),
          },
          timeoutMs: Math.max(1, untilMs - performance.now()),
          signal,
        });
      const { rows, cost } = await run(early).catch((error: unknown) => {
        if (stoodStill(error)) return run({});
        throw error;
      });
      metrics.rowsRead.inc({ query: query.name }, cost.readRows);
      return rows;
    } catch (error) {
      if (rowsMax !== undefined && hasTooManyRows(error)) throw error;
      const code = error instanceof ClickHouseError ? error.code : 'unknown';
      metrics.errors.inc({ query: query.name, code });
      const limits = {
        rowsMax: config.rows_to_read_max,
        timeoutMs: config.query_timeout_ms,
      };
      throw await tooMuchOf(error, query, { clickhouse, nowMs: deps.now(), ...limits });
    } finally {
      end();
    }
  }

  async function ask<Row extends z.ZodType>(
    query: Query<Row>,
    { signal, threads, rowsMax }: Sending,
  ): Promise<z.output<Row>[]> {
    const key = `${query.name}\n${JSON.stringify(query.params)}\n${query.sql}`;
    const mayReuse = query.reuse === true && config.reuse_ms > 0;
    const known = mayReuse ? remembered.get(key) : undefined;
    if (known !== undefined) {
      metrics.reused.inc({ query: query.name });
      return known as z.output<Row>[];
    }
    // A question that may be refused is not the same.
    const flight = `${rowsMax ?? ''}\n${key}`;
    const rows = await flights.join(flight, signal, async (shared) => {
      const found = await send(query, { signal: shared, threads, rowsMax });
      if (mayReuse) remembered.set(key, found);
      return found;
    });
    return rows as z.output<Row>[];
  }

  return {
    ask,
    async askWithin(query, rowsMax, asking) {
      if (rowsMax >= config.rows_to_read_max) return ask(query, asking);
      try {
        // 0 would be no limit.
        return await ask(query, { ...asking, rowsMax: Math.max(1, rowsMax) });
      } catch (error) {
        if (hasTooManyRows(error)) return null;
        throw error;
      }
    },
    ping: () => clickhouse.ping({ timeoutMs: 1_500 }),
  };
}
