/** Numbers that the two threads share, so that they need not wake each other. */
const WRITTEN = 0;
const ACKNOWLEDGED = 1;
const FREED = 2;
const POSITIONS_BYTES = 3 * 8;
const IN_MEMORY = 0;

export class SharedState {
  readonly memory: SharedArrayBuffer;
  readonly #positions: BigInt64Array;
  readonly #flags: Int32Array;

  constructor(memory = new SharedArrayBuffer(POSITIONS_BYTES + 4)) {
    this.memory = memory;
    this.#positions = new BigInt64Array(memory, 0, 3);
    this.#flags = new Int32Array(memory, POSITIONS_BYTES, 1);
  }

  /** How far the log is written. Set after the bytes are there. */
  get written(): number {
    return Number(Atomics.load(this.#positions, WRITTEN));
  }

  set written(position: number) {
    Atomics.store(this.#positions, WRITTEN, BigInt(position));
  }

  /** How far Kafka has acknowledged the log. */
  get acknowledged(): number {
    return Number(Atomics.load(this.#positions, ACKNOWLEDGED));
  }

  set acknowledged(position: number) {
    Atomics.store(this.#positions, ACKNOWLEDGED, BigInt(position));
  }

  /** How far the log is deleted. */
  get freed(): number {
    return Number(Atomics.load(this.#positions, FREED));
  }

  set freed(position: number) {
    Atomics.store(this.#positions, FREED, BigInt(position));
  }

  /** Whether events wait in the memory of the proxy's thread because the disk refuses them. */
  get hasEventsInMemory(): boolean {
    return Atomics.load(this.#flags, IN_MEMORY) === 1;
  }

  set hasEventsInMemory(has: boolean) {
    Atomics.store(this.#flags, IN_MEMORY, has ? 1 : 0);
  }
}
