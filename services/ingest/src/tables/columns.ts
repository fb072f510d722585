/**
 * Which columns ingest writes into which table, and as which type. The SQL in migrations/ must have
 * these columns; others may have defaults. A start compares the two (check-tables.ts).
 */
import { FINAL_STATUSES } from '@sockscope/schemas';
import { ENDED_FIELDS } from '@sockscope/schemas/sums';
import { eventFields, sessionFields, trafficFields } from './columns.generated.js';
import type { Column } from './native/column.js';
import { ChoiceColumn } from './native/low-cardinality.js';
import { Uint32Column, Uint64Column, UuidColumn } from './native/numbers.js';

export const sessionColumns = () => ({
  ...sessionFields(),
  /** Null stands first among the choices of an event's status: the session is active then. */
  status: new ChoiceColumn(['active', ...FINAL_STATUSES]),
  updated_at: new Uint64Column("DateTime64(3, 'UTC')"),
  version: new Uint32Column('UInt32'),
});

export const trafficColumns = () => ({
  ...trafficFields(),
  bucket: new Uint32Column("DateTime('UTC')"),
  bytes_sent: new Uint64Column('UInt64'),
  bytes_received: new Uint64Column('UInt64'),
  packets_sent: new Uint64Column('UInt64'),
  packets_received: new Uint64Column('UInt64'),
});

/** The columns that `ended_sessions` shares with the session's row. */
export const COPIED_TO_ENDED = [
  ...ENDED_FIELDS,
  'version',
] as const satisfies readonly (keyof ReturnType<typeof sessionColumns>)[];

/** Sessions that ended in another slice of ten minutes than they began in, with the figures of their ends. */
export const endedColumns = () => {
  const columns = sessionColumns();
  return {
    ...pick(columns, COPIED_TO_ENDED),
    ended_at: new Uint64Column("DateTime64(3, 'UTC')"),
  };
};

/** Sessions whose end is doubtful: their rows in `sessions` decide. */
export const endColumns = () => ({
  ended_at: new Uint64Column("DateTime64(3, 'UTC')"),
  started_at: new Uint64Column("DateTime64(3, 'UTC')"),
  session_id: new UuidColumn(),
});

/** The columns that a row of `session_traffic_1m` has from any event of its session. */
export const COPIED_TO_TRAFFIC = namesOf(trafficFields());
/** The columns that a row of `sessions` has from its newest event. */
export const COPIED_TO_SESSIONS = namesOf(sessionFields());

/** The columns of `sessions`. */
export const SESSION_NAMES = namesOf(sessionColumns());

function pick<C extends object, N extends keyof C>(columns: C, names: readonly N[]): Pick<C, N> {
  return Object.fromEntries(names.map((name) => [name, columns[name]])) as Pick<C, N>;
}

function namesOf<C extends object>(columns: C): (keyof C)[] {
  return Object.keys(columns) as (keyof C)[];
}

function typesOf(columns: Readonly<Record<string, Column>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(columns).map(([name, { type }]) => [name, type]));
}

/** Names and types. */
export const EVENT_COLUMNS = typesOf(eventFields());
export const SESSION_COLUMNS = typesOf(sessionColumns());
export const TRAFFIC_COLUMNS = typesOf(trafficColumns());
const END_COLUMNS = typesOf(endColumns());
const ENDED_COLUMNS = typesOf(endedColumns());

/** Every table that a batch is written to. */
export const TABLE_COLUMNS = {
  sessions: SESSION_COLUMNS,
  sessions_by_user: SESSION_COLUMNS,
  sessions_by_destination: SESSION_COLUMNS,
  long_sessions: SESSION_COLUMNS,
  session_ends: END_COLUMNS,
  ended_sessions: ENDED_COLUMNS,
  session_traffic_1m: TRAFFIC_COLUMNS,
  session_events: EVENT_COLUMNS,
} as const satisfies Record<string, Readonly<Record<string, string>>>;
