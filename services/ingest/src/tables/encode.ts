import {
  EVENT_COLUMNS,
  eventCells,
  SESSION_COLUMNS,
  sessionCells,
  TRAFFIC_COLUMNS,
  trafficCells,
} from './columns.js';
import type { CellValue } from './columns.js';
import type { Accumulator } from '../fold/accumulator.js';

/** Rows of one table, encoded once: a retry sends the same bytes. */
export interface TableBlock {
  readonly table: string;
  readonly columns: readonly string[];
  readonly format: 'RowBinary' | 'JSONCompactEachRow';
  readonly bytes: readonly Uint8Array[];
  readonly rows: number;
}

function jsonRows<T>(
  table: string,
  columns: readonly string[],
  items: Iterable<T>,
  cellsOf: (item: T) => CellValue[],
): TableBlock {
  const lines: string[] = [];
  for (const item of items) lines.push(JSON.stringify(cellsOf(item)));
  return {
    table,
    columns,
    format: 'JSONCompactEachRow',
    bytes: [Buffer.from(lines.join('\n'))],
    rows: lines.length,
  };
}

/** What a batch writes. The two copies of `sessions` share its bytes. */
export function encodeTables(batch: Accumulator): TableBlock[] {
  const sessions = jsonRows('sessions', SESSION_COLUMNS, batch.sessions(), sessionCells);
  return [
    sessions,
    { ...sessions, table: 'sessions_by_user' },
    { ...sessions, table: 'sessions_by_destination' },
    jsonRows('session_traffic_1m', TRAFFIC_COLUMNS, batch.traffic(), trafficCells),
    jsonRows('session_events', EVENT_COLUMNS, batch.log(), eventCells),
  ].filter((block) => block.rows > 0);
}
