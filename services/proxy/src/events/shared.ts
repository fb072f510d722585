const PLACES = {
  /** How far the log is written. Set after the bytes are there. */
  written: 0,
  /** How far Kafka has acknowledged the log. */
  acknowledged: 1,
  /** How far the log is deleted. */
  freed: 2,
  /** Bytes of events in the memory of the proxy's thread, because the disk refuses them. */
  inMemory: 3,
  /** Bytes of events that were published from there and never came to the log. */
  repaid: 4,
} as const;

/** Numbers that the two threads share, so that they need not wake each other. */
export class SharedState {
  readonly memory: SharedArrayBuffer;
  readonly #numbers: BigInt64Array;

  constructor(memory = new SharedArrayBuffer(Object.keys(PLACES).length * 8)) {
    this.memory = memory;
    this.#numbers = new BigInt64Array(memory);
  }

  get(name: keyof typeof PLACES): number {
    return Number(Atomics.load(this.#numbers, PLACES[name]));
  }

  set(name: keyof typeof PLACES, value: number): void {
    Atomics.store(this.#numbers, PLACES[name], BigInt(value));
  }
}
