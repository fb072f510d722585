import type { HealthReport } from '@sockscope/runtime';
import type { MetricObjectWithValues, MetricValue } from 'prom-client';
import type { LimitName } from '../limits/admission.js';

/** How many one holder has under a limit; the key is a user, a source or empty. */
export type HeldCount = readonly [limit: LimitName, key: string, count: number];

export type MetricsSnapshot = readonly MetricObjectWithValues<MetricValue<string>>[];

/** Requests of the primary to a worker. */
export interface Answers {
  readonly metrics: MetricsSnapshot;
  readonly live: HealthReport;
  readonly ready: HealthReport;
}
export type Question = keyof Answers;

export type ToWorker =
  /** Drain and end. */
  | { readonly kind: 'stop' }
  /** Take the ACL and the users in again. */
  | { readonly kind: 'reload' }
  | { readonly kind: 'ask'; readonly id: number; readonly question: Question }
  /** The sum of all other workers, for the keys that changed. */
  | { readonly kind: 'others'; readonly counts: readonly HeldCount[] };

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answers[Question] | null }
  /** The counts of this worker, for the keys that changed; also its sign of life. */
  | { readonly kind: 'holds'; readonly counts: readonly HeldCount[] };
