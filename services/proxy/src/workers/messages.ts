import type { HealthReport } from '@sockscope/runtime';
import type { MetricObjectWithValues, MetricValue } from 'prom-client';
import type { LimitName } from '../limits/admission.js';

/** How many one holder has under a limit; the key is a user, a source or empty. */
export type HeldCount = readonly [limit: LimitName, key: string, count: number];

export type MetricsSnapshot = readonly MetricObjectWithValues<MetricValue<string>>[];

/** What the primary may ask a worker. */
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
  /** What all other workers together hold, for the keys that changed. */
  | { readonly kind: 'others'; readonly counts: readonly HeldCount[] };

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answers[Question] | null }
  /** What this worker holds, for the keys that changed; also its sign of life. */
  | { readonly kind: 'holds'; readonly counts: readonly HeldCount[] };
