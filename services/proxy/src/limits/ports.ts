import { z } from 'zod';

/** Ports from `first` to `last`, both included; 0 to 0 stands for any free one. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** A setting such as `40000-40999`, `40000`, or `0`. */
export function portRange(): z.ZodType<PortRange> {
  const shape = z
    .object({ first: z.int().min(0).max(65_535), last: z.int().min(0).max(65_535) })
    .refine(({ first, last }) => first <= last && (first > 0 || last === 0));
  return z.preprocess(
    (value) => {
      const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(value).trim());
      return match === null
        ? value
        : { first: Number(match[1]), last: Number(match[2] ?? match[1]) };
    },
    z.custom<PortRange>(
      (value) => shape.safeParse(value).success,
      'must be a port range such as 40000-40999, or 0 for any free port',
    ),
  );
}

/** How many ports of a range are tried before giving up: a full range is a limit, not a search. */
const MAX_ATTEMPTS = 64;

/** Ports to try, in order, from a place in the range that moves on with every call. */
export class PortPicker {
  readonly #range: PortRange;
  #next: number;

  constructor(range: PortRange) {
    this.#range = range;
    this.#next = range.first;
  }

  /** How many attempts make sense. */
  get attempts(): number {
    return Math.min(MAX_ATTEMPTS, this.#range.last - this.#range.first + 1);
  }

  next(): number {
    const port = this.#next;
    this.#next = port >= this.#range.last ? this.#range.first : port + 1;
    return port;
  }
}
