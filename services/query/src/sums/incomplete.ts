import type { Kept } from '../coverage/coverage.js';
import { DAY_MS, MINUTE_MS } from '@sockscope/schemas/sums';
import type { Coverage, Plan, Span } from './plan.js';

/**
 * Minutes that a plan reads from tables that do not go back so far any more: minutes of traffic, and
 * for pairs of user and destination the sums per hour. Times before the first session are empty, not
 * gone; a difference below a day is how the first sessions came, since retention is in whole days.
 */
export function incompleteMinutes(
  plan: Pick<Plan, 'exact' | 'hours'>,
  usesPairs: boolean,
  { minutesFromMs, sessionsFromMs, pairHoursFromMs }: Pick<Coverage, 'minutesFromMs'> & Kept,
): number {
  const goneOf = (spans: readonly Span[], keptFromMs: number | null) => {
    if (keptFromMs === null || sessionsFromMs === null) return 0;
    if (keptFromMs - sessionsFromMs < DAY_MS) return 0;
    return spans.reduce((sum, span) => {
      const fromMs = Math.max(span.fromMs, sessionsFromMs);
      return sum + Math.max(0, Math.min(span.toMs, keptFromMs) - fromMs);
    }, 0);
  };
  const goneMs =
    goneOf(plan.exact, minutesFromMs) + (usesPairs ? goneOf(plan.hours, pairHoursFromMs) : 0);
  return Math.ceil(goneMs / MINUTE_MS);
}
