import { toTimestamp } from '@sockscope/schemas';

/** Up to the point: `2026-01-31T23:59:59.`; formatting it costs a microsecond, the rest nothing. */
let second = -1;
let prefix = '';
const MILLISECONDS = Array.from({ length: 1_000 }, (_, ms) => `${String(ms).padStart(3, '0')}Z`);
/** The last text of each millisecond within a second, and its time: many events happen in one. */
const texts = MILLISECONDS.slice();
const times = new Float64Array(1_000).fill(-1);

/** The wire form of a time in milliseconds since 1970, from 1970 to 9999. */
export function timestampOf(ms: number): string {
  const rest = ms % 1_000;
  if (times[rest] === ms) return texts[rest] as string;
  if (ms - rest !== second) {
    second = ms - rest;
    prefix = toTimestamp(second).slice(0, -'000Z'.length);
  }
  const text = prefix + (MILLISECONDS[rest] as string);
  texts[rest] = text;
  times[rest] = ms;
  return text;
}
