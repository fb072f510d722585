import { durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';

export const exportConfig = z.object({
  running_max: integer({ min: 1, max: 1_000 }).default(2).meta({
    env: 'QUERY_EXPORTS_RUNNING_MAX',
    description: 'exports at once; the same number may wait, more get 503',
  }),
  rows_max: integer({ min: 1 }).default(50_000_000).meta({
    env: 'QUERY_EXPORT_ROWS_MAX',
    description: 'rows of one export; a larger one is ended as failed',
  }),
  timeout_ms: durationMs({ min: 1_000, max: 290_000 }).default(280_000).meta({
    env: 'QUERY_EXPORT_TIMEOUT',
    description: 'deadline of one export',
  }),
});

/** Rows that one export may read: it may take far longer than an answer. */
export const EXPORT_ROWS_TO_READ_MAX = 2_000_000_000;
/** A client that reads nothing for this long is disconnected, because others wait for its place. */
export const PROGRESS_MAX_MS = 30_000;

export type ExportConfig = z.infer<typeof exportConfig>;
