import type { Settings, SqlValue } from '@sockscope/runtime/clickhouse';
import type { z } from 'zod';
import type { OpenSpan } from '../time/range.js';

/** Parameters of a statement, each bound to `{name:Type}` in its text. */
export type SqlParams = Readonly<Record<string, SqlValue>>;

/** One question to ClickHouse, ready to be asked. */
export interface Query<Row extends z.ZodType = z.ZodType> {
  /** Names the query in metrics: one of a fixed set, never something of a client. */
  readonly name: string;
  /** Text made of constants of this folder alone. */
  readonly sql: string;
  readonly params: SqlParams;
  readonly row: Row;
  readonly settings?: Settings;
  /** An answer a moment old does as well. */
  readonly reuse?: boolean;
  /** Sees rows past their retention, too; see store/retention.ts. */
  readonly seesExpired?: boolean;
  /**
   * The range that is read, for a refusal that names the longest possible one; an open side is all that is
   * kept. Missing: no range makes the statement read less.
   */
  readonly range?: OpenSpan;
}

/** A condition of a WHERE clause with the values that it binds. */
export interface Condition {
  readonly sql: string;
  readonly params: SqlParams;
}

/** All of them must hold; nothing at all is always true. */
export function allOf(conditions: readonly Condition[]): Condition {
  if (conditions.length === 0) return { sql: '1', params: {} };
  return {
    sql: conditions.map((c) => `(${c.sql})`).join(' AND '),
    params: Object.assign({}, ...conditions.map((c) => c.params)) as SqlParams,
  };
}

/** One of them must hold. There is at least one. */
export function anyOf(conditions: readonly Condition[]): Condition {
  return {
    sql: conditions.map((c) => c.sql).join(' OR '),
    params: Object.assign({}, ...conditions.map((c) => c.params)) as SqlParams,
  };
}
