import { isoTime } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import type { Query } from './query.js';

const freshnessRow = z.object({ newest: isoTime.nullable() });

/** The newest event that ingest has stored. */
export function freshnessQuery(): Query<typeof freshnessRow> {
  return {
    name: 'freshness',
    sql: `SELECT if(count() = 0, NULL, max(watermark)) AS newest FROM ingest_watermarks FINAL`,
    params: {},
    row: freshnessRow,
  };
}
