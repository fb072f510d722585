/** Settings of tables that `migrate` keeps as this version wants them. */
import { TABLE_COLUMNS } from '../tables/columns.js';

export type TableSettings = Readonly<Record<string, number | string>>;

/**
 * Returns the clause of ALTER TABLE that gives a table these settings, or null if it has them.
 *
 * @param engineFull `system.tables.engine_full` of the table now.
 */
export function settingsClause(wanted: TableSettings, engineFull: string): string | null {
  const [, present = ''] = / SETTINGS (.*)$/.exec(engineFull) ?? [];
  const texts = Object.entries(wanted).map(([name, value]) => `${name} = ${literal(value)}`);
  const missing = texts.filter((text) => !`, ${present},`.includes(`, ${text},`));
  return missing.length === 0 ? null : `MODIFY SETTING ${missing.join(', ')}`;
}

function literal(value: number | string): string {
  return typeof value === 'number' ? String(value) : `'${value}'`;
}

/**
 * Settings of the tables that each batch is inserted into. A batch makes a part in each of them, and merging
 * such small parts costs more than the inserts, so ClickHouse merges more of them at once. This is the
 * minimum ratio of the size of a merge to its largest part; the default is 5.
 */
export const BATCH_TABLE_SETTINGS = { merge_selector_base: 12 } as const;

export const BATCH_TABLES = Object.keys(TABLE_COLUMNS);
