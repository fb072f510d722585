/** Notes of people, drawn on every chart of the page. */
import { signal } from '@preact/signals';
import type uPlot from 'uplot';

export interface Note {
  readonly starts_at: string;
  /** Null: a moment. */
  readonly ends_at: string | null;
  readonly text: string;
}

/** Set by the page, for its range. */
export const notes = signal<readonly Note[]>([]);

const spanOf = ({ starts_at, ends_at }: Note): [number, number] => {
  const start = Date.parse(starts_at);
  return [start, ends_at === null ? start : Date.parse(ends_at)];
};

/** The end of the bucket at `at`. The last one is as long as the previous one. */
export function endOf(times: ArrayLike<number>, at: number): number {
  const from = times[at] ?? 0;
  return times[at + 1] ?? from + (from - (times[at - 1] ?? from));
}

/** The notes on the bucket at `at`. */
export function notesAt(all: readonly Note[], times: readonly number[], at: number): Note[] {
  const from = times[at] ?? 0;
  const to = endOf(times, at);
  return all.filter((note) => {
    const [start, end] = spanOf(note);
    return start < to && (end > from || start >= from);
  });
}

/** Draws a line at each moment and a band over each range. The chart's readout has their words. */
export function drawMarks(plot: uPlot, all: readonly Note[]): void {
  for (const mark of plot.over.querySelectorAll('.mark')) mark.remove();
  const times = plot.data[0];
  const { min, max } = plot.scales['x'] ?? {};
  if (min === undefined || max === undefined) return;
  for (const note of all) {
    const [start, end] = spanOf(note);
    if (end < min || start >= endOf(times, times.length - 1)) continue;
    // The plot ends where its last bucket begins.
    const [left, right] = [start, end].map((ms) =>
      plot.valToPos(Math.min(max, Math.max(min, ms)), 'x'),
    ) as [number, number];
    const mark = document.createElement('i');
    mark.className = 'mark';
    mark.style.left = `${left}px`;
    mark.style.width = `${right - left}px`;
    plot.over.append(mark);
  }
}
