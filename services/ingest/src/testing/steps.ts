/**
 * The steps between a fetch and its commit at which a test may stop an ingest process. Each is reached
 * once per batch, except the ones of `accept`, which come once per record batch.
 */
export const TABLES = [
  'sessions',
  'sessions_by_user',
  'sessions_by_destination',
  'session_traffic_1m',
  'session_events',
  'ingest_rollup_buckets',
  'ingest_watermarks',
] as const;

export const STEPS = [
  'before accept',
  'after accept',
  ...TABLES.flatMap((table) => [`before insert ${table}`, `after insert ${table}`] as const),
  'before dead letters',
  'after dead letters',
  'before commit',
  'after commit',
] as const;

export type Step = (typeof STEPS)[number];

/** Environment variable of child-main.ts: a step, or empty. */
export const PAUSE_ENV = 'INGEST_TEST_PAUSE';
/** The line that the child prints when it has reached the step. */
export const PAUSED_LINE = 'test: paused';
