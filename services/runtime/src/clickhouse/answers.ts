/** Reads ClickHouse's answers. */
import { parseError } from '@clickhouse/client';
import type { ResponseHeaders } from '@clickhouse/client';
import type { z } from 'zod';
import { ClickHouseError } from './errors.js';

/** The cost of a query, as the server counts it. */
export interface QueryCost {
  readonly readRows: number;
  readonly readBytes: number;
  readonly elapsedMs: number;
}

/**
 * The pieces of an answer up to an exception that the server wrote behind them, which is thrown:
 * between two lines `__exception__` it stands with a tag that only this answer's header names.
 */
export async function* withoutException(
  pieces: AsyncIterable<unknown>,
  tag: string | string[] | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const marker = typeof tag === 'string' ? Buffer.from(`\r\n__exception__\r\n${tag}\r\n`) : null;
  const exception: Buffer[] = [];
  let kept: Buffer = Buffer.alloc(0);
  try {
    for await (const piece of pieces) {
      const bytes: Buffer = Buffer.concat([kept, piece as Uint8Array]);
      kept = Buffer.alloc(0);
      if (exception.length > 0) exception.push(bytes);
      else if (marker === null) yield bytes;
      else {
        const at = bytes.indexOf(marker);
        // The marker may lie across two pieces.
        const safe = at >= 0 ? at : Math.max(0, bytes.length - marker.length + 1);
        if (safe > 0) yield bytes.subarray(0, safe);
        if (at >= 0) exception.push(bytes.subarray(at + marker.length));
        else kept = bytes.subarray(safe);
      }
    }
  } catch (cause) {
    // The server cuts the connection behind an exception.
    if (exception.length === 0) throw cause;
  }
  if (exception.length > 0) throw parseError(Buffer.concat(exception).toString('utf8').trim());
  if (kept.length > 0) yield kept;
}

/**
 * Rejects when the signal fires, after `end` has been called; the client's own promise may then
 * hang permanently.
 */
export async function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  end: () => void,
): Promise<T> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      end();
      reject(new Error('aborted'));
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    promise.catch(() => undefined);
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}

/** `{"data": {"a": [1, 2], "b": [3, 4]}, …}` as rows. */
export function rowsOf(body: string): Record<string, unknown>[] {
  const { data } = JSON.parse(body) as { data: Record<string, readonly unknown[]> };
  const columns = Object.entries(data);
  const length = columns[0]?.[1].length ?? 0;
  // Copies of one object that has all the names already are made and filled three times as fast as
  // empty ones to which each name is new.
  const empty: Record<string, unknown> = {};
  for (const [name] of columns) empty[name] = null;
  const rows = Array.from({ length }, (): Record<string, unknown> => ({ ...empty }));
  for (const [name, values] of columns) {
    let i = 0;
    for (const row of rows) {
      row[name] = values[i];
      i += 1;
    }
  }
  return rows;
}

export function parseRow<S extends z.ZodType>(schema: S, row: unknown): z.output<S> {
  const parsed = schema.safeParse(row);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ');
  throw new ClickHouseError(
    'clickhouse_row',
    `a row does not have the expected shape: ${problems}`,
    {
      retryable: false,
      cause: parsed.error,
    },
  );
}

/** Reads the header `X-ClickHouse-Summary`, which is complete because the server answers at the end of the query. */
export function costOf(headers: ResponseHeaders): QueryCost {
  const header = headers['x-clickhouse-summary'];
  const summary = (typeof header === 'string' ? JSON.parse(header) : {}) as Record<string, unknown>;
  const number = (name: string) => Number(summary[name] ?? 0);
  return {
    readRows: number('read_rows'),
    readBytes: number('read_bytes'),
    elapsedMs: number('elapsed_ns') / 1e6,
  };
}
