import { plainAddressSql } from './addresses.js';

/** The dimensions by which sessions are summed. */
export const DIMENSIONS = [
  'total',
  'user',
  'destination',
  'source',
  'port',
  'protocol',
  'proxy',
  'acl_rule',
  'close_reason',
  'status',
] as const;

export type Dimension = (typeof DIMENSIONS)[number];

interface Key {
  /** The column of `sessions`, with its native type; null for the total, which has one key. */
  readonly column: string | null;
  /** SQL that makes the key as text from the column; the empty text stands for no value. */
  readonly text: (column: string) => string;
  /**
   * Whether the value may change until a session ends. Then all figures of a session count at its end, its
   * bytes too. Otherwise a long session would change every hour that it lived through.
   */
  readonly atEnd: boolean;
}

const asIs = (column: string) => column;
const asText = (column: string) => `toString(${column})`;
const orEmpty = (column: string) => `ifNull(toString(${column}), '')`;

const KEYS: Readonly<Record<Dimension, Key>> = {
  total: { column: null, text: () => `''`, atEnd: false },
  user: { column: 'user', text: asIs, atEnd: false },
  destination: { column: 'dest_host', text: asIs, atEnd: false },
  source: {
    column: 'source_ip',
    text: (column) => plainAddressSql(asText(column)),
    atEnd: false,
  },
  port: { column: 'dest_port', text: asText, atEnd: false },
  protocol: { column: 'protocol', text: asText, atEnd: false },
  proxy: { column: 'proxy_id', text: asText, atEnd: false },
  acl_rule: { column: 'acl_rule_matched', text: orEmpty, atEnd: true },
  close_reason: { column: 'close_reason', text: orEmpty, atEnd: true },
  status: { column: 'status', text: asText, atEnd: true },
};

/** Returns the column that a dimension groups by; null for the total. */
export function keyColumn(dimension: Dimension): string | null {
  return KEYS[dimension].column;
}

/** Returns SQL for the key as text, as sums hold it. The empty text stands for no value. */
export function keySql(dimension: Dimension): string {
  const { column, text } = KEYS[dimension];
  return text(column ?? '');
}

/** Returns whether all figures of a session count at its end for this dimension. */
export function countsAtEnd(dimension: Dimension): boolean {
  return KEYS[dimension].atEnd;
}

/** The key of one row of the pairs. */
export const PAIR_COLUMNS = ['user', 'dest_host', 'dest_port'] as const;

/** Returns how many sessions a key is shown with, as SQL over the summed figures. */
export function sessionsSql(dimension: Dimension): string {
  return countsAtEnd(dimension)
    ? 'sessions_closed + sessions_failed + sessions_rejected'
    : 'sessions_started';
}
