import { seededRandom } from '@sockscope/schemas/testing';
import type { Random } from '@sockscope/schemas/testing';

export type { Random };

/** A source of its own for each number, so that neighbours have nothing in common. */
export function randomOf(index: number): Random {
  return seededRandom(Math.imul(index, 0x9e3779b1));
}

/** One of the list, with the probability of its weight. */
export function pick<T extends { readonly weight: number }>(random: Random, from: readonly T[]): T {
  let left = random() * from.reduce((sum, each) => sum + each.weight, 0);
  for (const each of from) {
    left -= each.weight;
    if (left < 0) return each;
  }
  return last(from);
}

/** One of the list, each as often. */
export function oneOf<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] ?? last(from);
}

function last<T>(from: readonly T[]): T {
  const found = from.at(-1);
  if (found === undefined) throw new RangeError('nothing to pick from');
  return found;
}

/** Log-normal: half of the values lie below `median`; none above `max`. */
export function around(random: Random, median: number, spread: number, max: number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return Math.min(max, median * Math.exp(spread * normal));
}

/** Exponential: the gap to the next of events that come `perSecond` on average, in milliseconds. */
export function gapMs(random: Random, perSecond: number): number {
  return (-Math.log(1 - random()) * 1_000) / perSecond;
}
