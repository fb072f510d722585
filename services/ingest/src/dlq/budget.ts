/** A budget of rate and bytes for the dead letters of each partition: a token bucket with a burst. */

/** The most that a quiet partition may spend at once, in seconds of its rate. */
const BURST_S = 10;
/** The budget that an exhausted partition waits for, in seconds of its rate. */
const REFILL_S = 1;

interface Bucket {
  records: number;
  bytes: number;
  atMs: number;
}

export class PoisonBudget {
  readonly #buckets = new Map<number, Bucket>();
  readonly #recordsPerS: number;
  readonly #bytesPerS: number;

  constructor(config: { readonly records_per_s: number; readonly bytes_per_s: number }) {
    this.#recordsPerS = config.records_per_s;
    this.#bytesPerS = config.bytes_per_s;
  }

  /**
   * Takes a record out of the budget of its partition. A record that is larger than the whole
   * budget passes if the budget is full, and leaves a debt.
   *
   * @returns 0, or after how many milliseconds there is something left; the record is not taken then.
   */
  take(partition: number, bytes: number, nowMs: number): number {
    const bucket = this.#bucketOf(partition, nowMs);
    if (bucket.records < 1 || bucket.bytes < 0) {
      const recordsMs = ((this.#recordsPerS * REFILL_S - bucket.records) / this.#recordsPerS) * 1e3;
      const bytesMs = ((this.#bytesPerS * REFILL_S - bucket.bytes) / this.#bytesPerS) * 1e3;
      return Math.max(1, Math.ceil(recordsMs), Math.ceil(bytesMs));
    }
    bucket.records -= 1;
    bucket.bytes -= bytes;
    return 0;
  }

  #bucketOf(partition: number, nowMs: number): Bucket {
    const recordsMax = this.#recordsPerS * BURST_S;
    const bytesMax = this.#bytesPerS * BURST_S;
    let bucket = this.#buckets.get(partition);
    if (bucket === undefined) {
      bucket = { records: recordsMax, bytes: bytesMax, atMs: nowMs };
      this.#buckets.set(partition, bucket);
    }
    const passedS = Math.max(0, nowMs - bucket.atMs) / 1_000;
    bucket.records = Math.min(recordsMax, bucket.records + passedS * this.#recordsPerS);
    bucket.bytes = Math.min(bytesMax, bucket.bytes + passedS * this.#bytesPerS);
    bucket.atMs = nowMs;
    return bucket;
  }
}
