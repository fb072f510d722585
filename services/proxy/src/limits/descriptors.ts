import { readFileSync } from 'node:fs';

/** Descriptors for the listener, Kafka, the spool, name servers, and sessions that just change hands. */
const RESERVE = 512;
/** If the limit is small, this share of it is the reserve. */
const RESERVE_SHARE = 1 / 2;
/** Share of the budget beyond which every session gets only the descriptors that it needs. */
const TIGHT_SHARE = 1 / 2;

/** How many descriptors this process may have open; null if the system does not report it. */
export function descriptorLimit(
  readLimits: () => string = () => readFileSync('/proc/self/limits', 'utf8'),
): number | null {
  try {
    const match = /^Max open files\s+(\d+)/m.exec(readLimits());
    return match === null ? null : Number(match[1]);
  } catch {
    // Only Linux has this file.
    return null;
  }
}

/** The clients' part of a number of descriptors. */
export function descriptorsForClients(descriptors: number): number {
  return descriptors - Math.min(RESERVE, Math.floor(descriptors * RESERVE_SHARE));
}

/**
 * The descriptors of this process that clients cause: their own connections, those towards their
 * destinations with all attempts, listening sockets, UDP sockets, and the relay's pipes. Code that
 * opens a descriptor takes it here and returns it. So descriptors that a client holds beyond its
 * two are available to others.
 */
export class DescriptorBudget {
  readonly limit: number;
  readonly #others: () => number;
  #used = 0;

  /**
   * @param limit for all of it.
   * @param others descriptors that are counted elsewhere, such as pipes.
   */
  constructor(limit: number, others: () => number = () => 0) {
    this.limit = limit;
    this.#others = others;
  }

  get used(): number {
    return this.#used + this.#others();
  }

  /** Nothing new begins. */
  get isFull(): boolean {
    return this.used >= this.limit;
  }

  /** True if every session gets only the descriptors that it needs. */
  get isTight(): boolean {
    return this.used >= this.limit * TIGHT_SHARE;
  }

  take(count = 1): void {
    this.#used += count;
  }

  give(count = 1): void {
    this.#used -= count;
  }
}
