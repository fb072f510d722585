import { SESSION_FIELDS, fieldOf } from '@sockscope/schemas';
import type { SessionField } from '@sockscope/schemas';
import { SERIES_FIGURES } from '@sockscope/schemas/api';
import type { ExportFormat, SumSort, TopField, TrafficRow } from '@sockscope/schemas/api';
import { plainAddressSql } from '@sockscope/schemas/sums';
import type { Mask } from '../mask/mask.js';
import { FINAL_SETTINGS } from './expressions.js';
import { isNullable } from './fields.js';
import { allOf } from './query.js';
import type { Condition, Query, SqlParams } from './query.js';
import { sortKeys } from './sessions.js';
import type { SessionSort, SessionsTable, SortOrder } from './sessions.js';
import { isAtEnd, wholeSpanOf } from './sums.js';
import type { SumsOf } from './sums.js';
import { ENDED_SQL, topKeysSql } from './top.js';
import type { OpenSpan } from '../time/range.js';

/** A SELECT whose result goes to the client as ClickHouse writes it. */
export interface ExportStatement extends Pick<Query, 'range'> {
  /** Names the export in metrics and in the audit log. */
  readonly name: 'export_sessions' | 'export_top' | 'export_traffic';
  readonly sql: string;
  readonly params: SqlParams;
}

/** The format of an export, and the mask of its reader. */
export interface ExportStyle {
  readonly format: ExportFormat;
  readonly mask: Mask;
}

/**
 * Text that a client chose, in a cell: a spreadsheet would run text that begins like a formula, so an
 * apostrophe goes before it (OWASP, "CSV Injection"). The full-width forms count as the signs.
 */
function cell(format: ExportFormat, expression: string): string {
  return format === 'csv'
    ? `if(match(ifNull(${expression}, ''), '^[=+\\\\-@\\t\\r\\n＝＋－＠]'), concat('''', ${expression}), ${expression})`
    : expression;
}

/** Columns as in the answers of the API, in their order. Names mean the columns of the table, not these. */
export const EXPORT_SETTINGS = {
  ...FINAL_SETTINGS,
  prefer_column_name_to_alias: 1,
  format_csv_null_representation: '',
};

/** A field of a session as an export shows it. */
function fieldSql(name: SessionField, { mask, format }: ExportStyle): string {
  if (name === 'user') return cell(format, mask.userSql(name));
  if (name === 'source_ip') return mask.addressSql(name);
  const plain = isNullable(name) ? `CAST(${name}, 'Nullable(String)')` : `toString(${name})`;
  switch (fieldOf(name).value.kind) {
    case 'text':
      return cell(format, plain);
    case 'address':
      return plainAddressSql(plain);
    case 'uuid':
    case 'choice':
      return plain;
    case 'integer':
    case 'time':
    case 'flag':
    case 'counters':
      return name;
  }
}

/** Sessions that pass. @param limit null for all of them. */
export function exportSessions(
  of: {
    readonly table: SessionsTable;
    readonly filter: Condition;
    /** See Query; null for none. */
    readonly range: OpenSpan | null;
    readonly sort: SessionSort;
    readonly order: SortOrder;
    readonly limit: number | null;
    /** Null for all of them. */
    readonly fields: readonly SessionField[] | null;
  },
  style: ExportStyle,
): ExportStatement {
  const where = allOf([of.filter]);
  const direction = of.order === 'desc' ? 'DESC' : 'ASC';
  const columns = (of.fields ?? SESSION_FIELDS).map(
    (name) => `${fieldSql(name, style)} AS ${name}`,
  );
  return {
    name: 'export_sessions',
    sql: `SELECT ${columns.join(', ')}
      FROM ${of.table} FINAL
      WHERE ${where.sql}
      ORDER BY ${sortKeys(of.sort)
        .map((key) => `${key} ${direction}`)
        .join(', ')}
      ${of.limit === null ? '' : 'LIMIT {limit:UInt64}'}`,
    params: {
      ...where.params,
      ...style.mask.params,
      ...(of.limit === null ? {} : { limit: of.limit }),
    },
    ...(of.range === null ? {} : { range: of.range }),
  };
}

/** The key of a top list as an export shows it. */
function shownKey(field: TopField, { mask, format }: ExportStyle): string {
  switch (field) {
    case 'user':
      return cell(format, mask.userSql('key'));
    case 'source_ip':
      return mask.addresses === 'truncate' ? 'key' : mask.addressSql('toIPv6(key)');
    case 'dest_port':
      return 'toUInt16(key)';
    case 'acl_rule_matched':
    case 'dest_ip':
    case 'egress_ip':
      return cell(format, `nullIf(key, '')`);
    case 'dest_host':
    case 'proxy_id':
    case 'protocol':
    case 'close_reason':
    case 'status':
      return cell(format, 'key');
  }
}

/** Every key of a top list. */
export function exportTop(
  of: SumsOf,
  list: {
    readonly field: TopField;
    readonly sort: SumSort;
    /** Null for all of them. */
    readonly limit: number | null;
  },
  style: ExportStyle,
): ExportStatement {
  const keys = topKeysSql(of, list.sort, list.limit);
  const started = isAtEnd(of.by) ? "CAST(NULL, 'Nullable(UInt64)')" : 'sessions_started';
  return {
    name: 'export_top',
    sql: `SELECT ${shownKey(list.field, style)} AS ${list.field}, ${started} AS sessions_started,
        ${ENDED_SQL} AS sessions_ended, sessions_closed, sessions_failed, sessions_rejected,
        bytes_sent + bytes_received AS bytes, bytes_sent, bytes_received,
        packets_sent, packets_received, duration_ms
      FROM (${keys.sql})`,
    params: { ...keys.params, ...style.mask.params },
    range: wholeSpanOf(of),
  };
}

/** Points that were computed here, for ClickHouse to write. */
export function exportTraffic(
  rows: readonly TrafficRow[],
  split: TopField | null,
  style: ExportStyle,
): ExportStatement {
  const key = split === 'dest_port' ? 'toUInt16OrNull(r.2)' : cell(style.format, 'r.2');
  const keyColumns = split === null ? '' : `${key} AS ${split}, r.3 AS other,`;
  const values = SERIES_FIGURES.map((name, i) => `r.4[${i + 1}] AS ${name}`);
  return {
    name: 'export_traffic',
    sql: `SELECT fromUnixTimestamp64Milli(r.1, 'UTC') AS bucket, ${keyColumns}
        ${values.join(', ')}, r.5 AS sessions_open
      FROM (
        SELECT arrayJoin(JSONExtract({points:String},
          'Array(Tuple(Int64, Nullable(String), Bool, Array(Nullable(UInt64)), Nullable(UInt64)))')) AS r
      )`,
    params: {
      points: JSON.stringify(
        rows.map((row) => [
          Date.parse(row.bucket),
          textOf(split === null ? null : row[split]),
          row.other ?? false,
          SERIES_FIGURES.map((name) => row[name]),
          row.sessions_open,
        ]),
      ),
    },
  };
}

function textOf(key: string | number | null | undefined): string | null {
  return key === undefined || key === null ? null : String(key);
}
