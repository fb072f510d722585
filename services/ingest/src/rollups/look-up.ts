import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { z } from 'zod';

/** Sessions that one statement names: their ids must stay below the server's `http_max_field_value_size`. */
const NAMED_MAX = 2_000;
/**
 * Both bounds, because the primary key begins with the start; and the lists as they are, because
 * the index does not see through a function over them: all parts would be read.
 */
const AMONG =
  "started_at IN {starts:Array(DateTime64(3, 'UTC'))} AND session_id IN {ids:Array(UUID)}";

/** Asks for sessions by primary key in batches, and puts the answers together. */
export async function lookUp<S extends z.ZodType>(
  clickhouse: Pick<ClickHouse, 'query'>,
  of: {
    readonly sql: (among: string) => string;
    readonly sessions: readonly { readonly id: string; readonly startedMs: number }[];
    readonly row: S;
    readonly call: { readonly timeoutMs: number; readonly signal: AbortSignal };
  },
): Promise<z.output<S>[]> {
  const answers: z.output<S>[] = [];
  for (let at = 0; at < of.sessions.length; at += NAMED_MAX) {
    const named = of.sessions.slice(at, at + NAMED_MAX);
    const rows = await clickhouse.query({
      sql: of.sql(AMONG),
      params: {
        starts: named.map(({ startedMs }) =>
          new Date(startedMs).toISOString().replace('T', ' ').replace('Z', ''),
        ),
        ids: named.map(({ id }) => id),
      },
      row: of.row,
      settings: { distributed_product_mode: 'local', load_balancing: 'in_order' },
      ...of.call,
    });
    answers.push(...rows);
  }
  return answers;
}
