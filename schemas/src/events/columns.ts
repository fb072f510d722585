import { COUNTER_NAMES } from './counters.js';
import { FIELD_NAMES, fieldOf, namesIn } from './fields.js';
import type { FieldName } from './fields.js';
import { nullableColumn } from './values.js';

/** A column in ClickHouse. */
export interface ColumnDefinition {
  readonly type: string;
  /** `CODEC(…)` as `system.columns` shows it. */
  readonly codec: string;
}

/** Tables that have the contract's fields as columns. `sessions` stands for its copies, too. */
export type FieldTable = 'sessions' | 'session_traffic_1m' | 'session_events';

const FIELDS_OF: Readonly<Record<FieldTable, readonly FieldName[]>> = {
  sessions: namesIn('identity', 'origin', 'header', 'totals', 'closing', 'row'),
  session_traffic_1m: FIELD_NAMES.filter((name) => fieldOf(name).traffic === true),
  session_events: namesIn(
    'envelope',
    'identity',
    'origin',
    'header',
    'totals',
    'interval',
    'closing',
  ),
};

/** The column is null here because this kind of event lacks the field. */
function isNullIn(table: FieldTable, name: FieldName): boolean {
  const { part, value } = fieldOf(name);
  if (value.kind === 'flag' || value.nullable === true || value.kind === 'counters') return false;
  if (part === 'interval') return true;
  return part === 'closing' && !(table === 'sessions' && name === 'status');
}

/** Audit rows are read one session at a time, so only times pay for a codec of their own there. */
function codecIn(table: FieldTable, name: FieldName): string {
  const { codec, value } = fieldOf(name);
  const isWide = value.kind === 'integer' && !value.column.includes('UInt16');
  const own = value.kind === 'time' ? 'Delta' : isWide && table === 'sessions' ? 'T64' : 'none';
  const first = table === 'sessions' ? (codec ?? own) : own;
  // ClickHouse shows how wide the differences are: a time has eight bytes.
  return first === 'none'
    ? 'CODEC(ZSTD(1))'
    : `CODEC(${first}${first === 'Delta' ? '(8)' : ''}, ZSTD(1))`;
}

/** The columns that migrations must make in a table, by name. A table may have others of its own. */
export function columnsOf(table: FieldTable): Map<string, ColumnDefinition> {
  return new Map(
    FIELDS_OF[table].flatMap((name): [string, ColumnDefinition][] => {
      const { column, kind } = fieldOf(name).value;
      const definition = {
        type: isNullIn(table, name) ? nullableColumn(column) : column,
        codec: codecIn(table, name),
      };
      return kind === 'counters'
        ? COUNTER_NAMES.map((counter) => [`${name}_${counter}`, definition])
        : [[name, definition]];
    }),
  );
}
