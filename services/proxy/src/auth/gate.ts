/** Lets a bounded number of tasks run at once and a bounded number wait. */
export class Gate {
  readonly #limit: number;
  readonly #waitLimit: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number, waitLimit: number) {
    this.#limit = limit;
    this.#waitLimit = waitLimit;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Whether one more task would be taken. */
  get open(): boolean {
    return this.#running < this.#limit || this.#waiting.length < this.#waitLimit;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    } else {
      this.#running += 1;
    }
    try {
      return await task();
    } finally {
      // The place goes to the next in line, so that nobody can slip in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
