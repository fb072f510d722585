import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';

export type ExportOutcome = 'started' | 'finished' | 'aborted' | 'failed';

export interface AuditEntry {
  readonly exportId: string;
  readonly atMs: number;
  readonly principal: string;
  readonly remoteIp: string;
  readonly route: string;
  readonly format: string;
  /** The effective filters. */
  readonly filters: object;
  readonly rows: number;
  readonly outcome: ExportOutcome;
}

export interface AuditLog {
  /** Resolves when the entry is stored. */
  write(entry: AuditEntry): Promise<void>;
}

/** Who took data out, and which, in ClickHouse: one entry at the beginning of an export, one at its end. */
export function createAuditLog(deps: { readonly clickhouse: ClickHouse }): AuditLog {
  return {
    async write(entry) {
      const row = [
        entry.exportId,
        toTimestamp(entry.atMs),
        entry.principal,
        entry.remoteIp,
        entry.route,
        entry.format,
        JSON.stringify(entry.filters),
        entry.rows,
        entry.outcome,
      ];
      await deps.clickhouse.insert({
        table: 'export_audit',
        columns: [
          'export_id',
          'exported_at',
          'principal',
          'remote_ip',
          'route',
          'format',
          'filters',
          'rows',
          'outcome',
        ],
        format: 'JSONCompactEachRow',
        bytes: [Buffer.from(`${JSON.stringify(row)}\n`)],
        settings: { date_time_input_format: 'best_effort' },
        timeoutMs: 10_000,
      });
    },
  };
}
