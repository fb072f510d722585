import { z } from 'zod';

export const EXPORT_FORMATS = ['csv', 'ndjson', 'parquet'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** The format of the answer; replaces the header Accept. */
export const formatParam = {
  format: z
    .enum(['json', ...EXPORT_FORMATS])
    .optional()
    .describe(
      'json, or an export of all matching rows: csv, ndjson or parquet; replaces the header Accept. An export needs the scope export',
    ),
};

export const EXPORT_TYPES: Readonly<Record<ExportFormat, string>> = {
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson',
  parquet: 'application/vnd.apache.parquet',
};
