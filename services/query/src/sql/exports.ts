import type { ExportFormat, TopMeasure } from '@sockscope/schemas/api';
import { plainAddressSql, sessionsSql } from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';
import { fieldOf, SESSION_FIELDS } from '@sockscope/schemas';
import type { SessionField } from '@sockscope/schemas';
import { isHidden } from '../mask/mask.js';
import type { Mask } from '../mask/mask.js';
import { BYTES_SQL, DURATION_SQL, FINAL_SETTINGS } from './expressions.js';
import { isNullable } from './fields.js';
import { allOf } from './query.js';
import type { Condition, SqlParams } from './query.js';
import { topKeysSql } from './sums.js';
import type { SumsOf } from './sums.js';
import type { SessionSort, SessionsTable, SortOrder } from './sessions.js';

/** A SELECT whose result goes to the client as ClickHouse writes it. */
export interface ExportStatement {
  /** Names the export in metrics and in the audit log. */
  readonly name: 'export_sessions' | 'export_top' | 'export_traffic';
  readonly sql: string;
  readonly params: SqlParams;
}

/** How an export is written, and what its reader may see. */
export interface ExportStyle {
  readonly format: ExportFormat;
  readonly mask: Mask;
}

/**
 * Text that a client chose, in a cell: a spreadsheet would run what begins like a formula, so an
 * apostrophe goes before it (OWASP, "CSV Injection"). The full-width forms count as the signs.
 */
function cell(format: ExportFormat, expression: string): string {
  return format === 'csv'
    ? `if(match(ifNull(${expression}, ''), '^[=+\\\\-@\\t\\r\\n＝＋－＠]'), concat('''', ${expression}), ${expression})`
    : expression;
}

const SORT_SQL: Readonly<Record<SessionSort, string>> = {
  started_at: 'started_at',
  duration_ms: DURATION_SQL,
  bytes: BYTES_SQL,
};

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
    case 'counters':
      return name;
  }
}

/** Sessions that pass. @param limit null for all of them. */
export function exportSessions(
  of: {
    readonly table: SessionsTable;
    readonly filter: Condition;
    readonly sort: SessionSort;
    readonly order: SortOrder;
    readonly limit: number | null;
  },
  style: ExportStyle,
): ExportStatement {
  const where = allOf([of.filter]);
  const direction = of.order === 'desc' ? 'DESC' : 'ASC';
  const keys = [...new Set([SORT_SQL[of.sort], 'started_at', 'session_id'])];
  return {
    name: 'export_sessions',
    sql: `SELECT ${SESSION_FIELDS.map((name) => `${fieldSql(name, style)} AS ${name}`).join(', ')}
      FROM ${of.table} FINAL
      WHERE ${where.sql}
      ORDER BY ${keys.map((key) => `${key} ${direction}`).join(', ')}
      ${of.limit === null ? '' : 'LIMIT {limit:UInt64}'}`,
    params: {
      ...where.params,
      ...style.mask.params,
      ...(of.limit === null ? {} : { limit: of.limit }),
    },
  };
}

export type TopDimension = Exclude<Dimension, 'total' | 'protocol' | 'proxy' | 'status'>;

/** The name of each list's keys, and the key as it is shown. */
function keyColumn(dimension: TopDimension, style: ExportStyle): readonly [string, string] {
  const { mask, format } = style;
  switch (dimension) {
    case 'user':
      return ['user', cell(format, mask.userSql('key'))];
    case 'destination':
      return ['dest_host', cell(format, 'key')];
    case 'source':
      return ['source_ip', mask.addressSql('toIPv6(key)')];
    case 'port':
      return ['dest_port', 'toUInt16(key)'];
    case 'acl_rule':
      return ['acl_rule_matched', cell(format, `nullIf(key, '')`)];
    case 'close_reason':
      return ['close_reason', 'key'];
  }
}

/** Every key of a top list. @param limit null for all of them. */
export function exportTop(
  of: SumsOf & { readonly dimension: TopDimension },
  by: TopMeasure,
  limit: number | null,
  style: ExportStyle,
): ExportStatement {
  const keys = topKeysSql(of, by, limit);
  const [name, shown] = keyColumn(of.dimension, style);
  return {
    name: 'export_top',
    sql: `SELECT ${shown} AS ${name}, ${sessionsSql(of.dimension)} AS sessions,
        bytes_sent + bytes_received AS bytes, bytes_sent, bytes_received,
        packets_sent, packets_received, duration_ms, sessions_rejected AS rejected
      FROM (${keys.sql})
      ${isHidden(of.dimension, style.mask) ? `ORDER BY ${by} DESC, ${name} ASC` : ''}`,
    params: { ...keys.params, ...style.mask.params },
  };
}

/** One point of one line: start of the bucket in seconds, key, whether it stands for all others, and the values. */
export type TrafficPoint = readonly [
  bucketMs: number,
  key: string | null,
  other: 0 | 1,
  values: readonly number[],
  active: number | null,
];

/** Points that were computed here, for ClickHouse to write. */
export function exportTraffic(
  points: readonly TrafficPoint[],
  split: string | null,
  style: ExportStyle,
): ExportStatement {
  const columns = [
    'bytes_sent',
    'bytes_received',
    'packets_sent',
    'packets_received',
    'started',
    'closed',
    'failed',
    'rejected',
  ];
  const keyColumns =
    split === null ? '' : `${cell(style.format, 'r.2')} AS {split:Identifier}, r.3 AS other,`;
  return {
    name: 'export_traffic',
    sql: `SELECT fromUnixTimestamp64Milli(r.1, 'UTC') AS bucket, ${keyColumns}
        ${columns.map((name, i) => `r.4[${i + 1}] AS ${name}`).join(', ')}, r.5 AS active
      FROM (
        SELECT arrayJoin(JSONExtract({points:String},
          'Array(Tuple(Int64, Nullable(String), Bool, Array(UInt64), Nullable(UInt64)))')) AS r
      )`,
    params: {
      points: JSON.stringify(points),
      ...(split === null ? {} : { split }),
    },
  };
}
