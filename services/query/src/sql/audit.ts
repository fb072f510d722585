import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import { timeSql } from './expressions.js';
import { allOf } from './query.js';
import type { Condition, Query } from './query.js';

const auditRow = z.object({
  entry_id: z.string(),
  at: wireTime,
  ended_at: wireTime.nullable(),
  principal: z.string(),
  restricted_to: z.array(z.string()),
  remote_ip: z.string(),
  action: z.string(),
  format: z.string(),
  details: z.string(),
  rows: int64.nullable(),
  bytes: int64,
  outcome: z.enum(['started', 'finished', 'aborted', 'failed']),
});

export interface AuditFilters {
  readonly fromMs: number | null;
  readonly toMs: number | null;
  readonly action: string | undefined;
  readonly principal: string | undefined;
  /** The end of the previous page. */
  readonly after: { readonly atMs: number; readonly id: string } | null;
}

/** Actions of the audit log, the newest first. The entries of an action are one row. */
export function auditEntriesQuery(filters: AuditFilters, limit: number): Query<typeof auditRow> {
  const { sql, params } = allOf(conditionsOf(filters));
  // A tuple is never NULL, so the NULL inside it is not passed over as an argument of argMax.
  const last = (column: string) => `argMax(${column}, outcome != 'started')`;
  return {
    name: 'audit',
    sql: `SELECT toString(export_id) AS entry_id, exported_at AS at, max(e.ended_at) AS ended_at,
        any(e.principal) AS principal, any(e.restricted_to) AS restricted_to,
        any(e.remote_ip) AS remote_ip, toString(any(e.route)) AS action,
        toString(any(e.format)) AS format, any(e.filters) AS details,
        tupleElement(${last('tuple(e.rows)')}, 1) AS rows, ${last('e.bytes')} AS bytes,
        toString(${last('e.outcome')}) AS outcome
      FROM export_audit AS e
      WHERE ${sql}
      GROUP BY export_id, exported_at
      ORDER BY exported_at DESC, toString(export_id) DESC
      LIMIT {limit:UInt32}`,
    params: { ...params, limit },
    row: auditRow,
    settings: { prefer_column_name_to_alias: 1 },
  };
}

function conditionsOf({ fromMs, toMs, action, principal, after }: AuditFilters): Condition[] {
  const conditions: Condition[] = [];
  if (fromMs !== null) {
    conditions.push({ sql: `exported_at >= ${timeSql('from')}`, params: { from: fromMs } });
  }
  if (toMs !== null) {
    conditions.push({ sql: `exported_at < ${timeSql('to')}`, params: { to: toMs } });
  }
  if (action !== undefined) {
    conditions.push({ sql: 'route = {action:String}', params: { action } });
  }
  if (principal !== undefined) {
    conditions.push({ sql: 'principal = {principal:String}', params: { principal } });
  }
  if (after !== null) {
    const at = timeSql('after_at');
    conditions.push({
      sql: `exported_at <= ${at} AND (exported_at, toString(export_id)) < (${at}, {after_id:String})`,
      params: { after_at: after.atMs, after_id: after.id },
    });
  }
  return conditions;
}
