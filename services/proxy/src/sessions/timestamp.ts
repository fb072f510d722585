import { toTimestamp } from '@sockscope/schemas';

/** A sweep asks for the same few times thousands of times, and formatting one costs half a microsecond. */
const SLOTS = 64;
const times = new Float64Array(SLOTS).fill(-1);
const texts: string[] = Array.from({ length: SLOTS }, () => '');

/** The wire form of a time in milliseconds since 1970. */
export function timestampOf(ms: number): string {
  const slot = ms % SLOTS;
  const known = texts[slot];
  if (times[slot] === ms && known !== undefined) return known;
  const text = toTimestamp(ms);
  times[slot] = ms;
  texts[slot] = text;
  return text;
}
