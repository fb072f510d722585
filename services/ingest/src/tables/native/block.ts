import type { TableBlock } from '../block.js';
import type { Column } from './column.js';
import type { NativeTable } from './table.js';

/** The rows [from, to) of a table, all by default. */
export function nativeBlock(
  name: string,
  table: NativeTable<Readonly<Record<string, Column>>>,
  from = 0,
  to = table.rows,
): TableBlock {
  const middle = (from + to) >>> 1;
  return {
    table: name,
    columns: Object.keys(table.columns),
    format: 'Native',
    bytes: to > from ? table.encode(from, to) : [],
    rows: to - from,
    ...(to - from < 2
      ? {}
      : {
          halves: () => [
            nativeBlock(name, table, from, middle),
            nativeBlock(name, table, middle, to),
          ],
        }),
  };
}
