/** What the two threads share without waking each other. */
const POSITIONS = ['written', 'acknowledged', 'freed', 'covered'] as const;
const POSITIONS_BYTES = POSITIONS.length * 8;
const ASLEEP = 0;
const LENDING = 1;

export function createSharedBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(POSITIONS_BYTES + 8);
}

export class SharedState {
  readonly #positions: BigInt64Array;
  readonly #flags: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#positions = new BigInt64Array(buffer, 0, POSITIONS.length);
    this.#flags = new Int32Array(buffer, POSITIONS_BYTES, 2);
  }

  /** How far the log is written. Set after the bytes are there. */
  get written(): number {
    return this.#get('written');
  }

  set written(position: number) {
    this.#set('written', position);
  }

  /** How far Kafka has acknowledged the log. */
  get acknowledged(): number {
    return this.#get('acknowledged');
  }

  set acknowledged(position: number) {
    this.#set('acknowledged', position);
  }

  /** How far the log is deleted. */
  get freed(): number {
    return this.#get('freed');
  }

  set freed(position: number) {
    this.#set('freed', position);
  }

  /** Open sessions that began before this position are in the table. */
  get covered(): number {
    return this.#get('covered');
  }

  set covered(position: number) {
    this.#set('covered', position);
  }

  /** Whether events wait in the memory of the proxy's thread because the disk refuses them. */
  get isLending(): boolean {
    return Atomics.load(this.#flags, LENDING) === 1;
  }

  set isLending(isLending: boolean) {
    Atomics.store(this.#flags, LENDING, isLending ? 1 : 0);
  }

  /** The publishing side stops looking; it must look once more after this. */
  fallAsleep(): void {
    Atomics.store(this.#flags, ASLEEP, 1);
  }

  /** Whether it was asleep and must be woken. */
  wake(): boolean {
    return Atomics.compareExchange(this.#flags, ASLEEP, 1, 0) === 1;
  }

  #get(name: (typeof POSITIONS)[number]): number {
    return Number(Atomics.load(this.#positions, POSITIONS.indexOf(name)));
  }

  #set(name: (typeof POSITIONS)[number], position: number): void {
    Atomics.store(this.#positions, POSITIONS.indexOf(name), BigInt(position));
  }
}
