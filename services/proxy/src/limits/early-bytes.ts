/** First bytes of a connection that are not counted: a TLS hello, a request. */
export const UNCOUNTED_BYTES = 2_048;
/** The part of the memory that one source may hold. */
const SOURCE_SHARE = 1 / 4;

/**
 * Memory for bytes that clients send before their destination is reached. Bytes that do not fit
 * are not read: they wait in the kernel, which slows their sender down.
 */
export class EarlyBytes {
  readonly #limit: number;
  readonly #bySource = new Map<string, number>();
  #used = 0;

  /** @param limit in bytes; the first buffer of each connection is not counted. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** Whether a source may hold more. */
  hasRoom(source: string): boolean {
    const held = this.#bySource.get(source) ?? 0;
    return this.#used < this.#limit && held < this.#limit * SOURCE_SHARE;
  }

  /** A connection that held `before` bytes now holds `after`; both may be 0. */
  changed(source: string, before: number, after: number): void {
    const step = counted(after) - counted(before);
    if (step === 0) return;
    this.#used += step;
    const held = (this.#bySource.get(source) ?? 0) + step;
    if (held > 0) this.#bySource.set(source, held);
    else this.#bySource.delete(source);
  }
}

function counted(bytes: number): number {
  return Math.max(0, bytes - UNCOUNTED_BYTES);
}
