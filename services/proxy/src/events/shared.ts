/** What the two threads tell each other without waking each other. */
const WRITTEN = 0;
const TAKEN = 1;
const ASLEEP = 0;
const FULL = 1;
const POSITIONS_BYTES = 16;

export function createSharedBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(POSITIONS_BYTES + 8);
}

export class SharedState {
  readonly #positions: BigInt64Array;
  readonly #flags: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#positions = new BigInt64Array(buffer, 0, 2);
    this.#flags = new Int32Array(buffer, POSITIONS_BYTES, 2);
  }

  /** How far the intake is written. Set after the bytes are there. */
  get written(): number {
    return Number(Atomics.load(this.#positions, WRITTEN));
  }

  set written(position: number) {
    Atomics.store(this.#positions, WRITTEN, BigInt(position));
  }

  /** How far the intake is taken. */
  get taken(): number {
    return Number(Atomics.load(this.#positions, TAKEN));
  }

  set taken(position: number) {
    Atomics.store(this.#positions, TAKEN, BigInt(position));
  }

  /** Whether the spool is too full for new sessions. */
  get isFull(): boolean {
    return Atomics.load(this.#flags, FULL) === 1;
  }

  set isFull(isFull: boolean) {
    Atomics.store(this.#flags, FULL, isFull ? 1 : 0);
  }

  /** The publishing side stops looking; it must look once more after this. */
  fallAsleep(): void {
    Atomics.store(this.#flags, ASLEEP, 1);
  }

  /** Whether it was asleep, and has to be told to look. */
  wake(): boolean {
    return Atomics.compareExchange(this.#flags, ASLEEP, 1, 0) === 1;
  }
}
