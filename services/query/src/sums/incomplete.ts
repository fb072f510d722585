import { MINUTE_MS } from '@sockscope/schemas/sums';
import type { Kept } from '../coverage/coverage.js';
import type { Pieces, Span } from './plan.js';

/**
 * Minutes that a plan reads from tables that do not go back so far any more: the sessions, the minutes of
 * traffic, and the sums per hour, of one dimension or of pairs of user and destination.
 */
export function incompleteMinutes(
  plan: {
    readonly counted: Pick<Pieces, 'exact' | 'hours'>;
    readonly moved: Pick<Pieces, 'exact'>;
  },
  usesPairs: boolean,
  kept: Kept,
): number {
  const goneOf = (spans: readonly Span[], goneMs: number | null) => {
    const { firstMs } = kept;
    if (goneMs === null || firstMs === null) return 0;
    return spans.reduce((sum, span) => {
      const fromMs = Math.max(span.fromMs, firstMs);
      return sum + Math.max(0, Math.min(span.toMs, goneMs) - fromMs);
    }, 0);
  };
  const exactMs = Math.max(
    goneOf(plan.counted.exact, kept.sessionsGoneMs),
    goneOf(plan.moved.exact, kept.minutesGoneMs),
  );
  const hoursGoneMs = usesPairs ? kept.pairHoursGoneMs : kept.hoursGoneMs;
  return Math.ceil((exactMs + goneOf(plan.counted.hours, hoursGoneMs)) / MINUTE_MS);
}
