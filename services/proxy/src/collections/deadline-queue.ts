/** Something that ends when its time is up. It lies in at most one queue at a time. */
export interface DeadlineNode {
  deadlineQueue: DeadlineQueue | null;
  /** Time of `performance.now()`. */
  deadlineMs: number;
  deadlinePrev: DeadlineNode | null;
  deadlineNext: DeadlineNode | null;
  onDeadline(queue: DeadlineQueue): void;
}

/**
 * Deadlines of equal length: the first to start is the first to end. So a linked list and one timer
 * serve any number of them, and adding and removing allocate nothing.
 */
export class DeadlineQueue {
  readonly durationMs: number;
  #head: DeadlineNode | null = null;
  #tail: DeadlineNode | null = null;
  #timer: NodeJS.Timeout | null = null;

  /** @param durationMs how far ahead every deadline lies, in milliseconds; 0 is never. */
  constructor(durationMs: number) {
    this.durationMs = durationMs;
  }

  /** Puts `node` here, and takes it out of the queue that it lies in. */
  add(node: DeadlineNode): void {
    node.deadlineQueue?.remove(node);
    if (this.durationMs === 0) return;
    node.deadlineQueue = this;
    node.deadlineMs = performance.now() + this.durationMs;
    node.deadlinePrev = this.#tail;
    node.deadlineNext = null;
    if (this.#tail === null) this.#head = node;
    else this.#tail.deadlineNext = node;
    this.#tail = node;
    if (this.#timer === null) this.#arm(this.durationMs);
  }

  remove(node: DeadlineNode): void {
    if (node.deadlineQueue !== this) return;
    if (node.deadlinePrev === null) this.#head = node.deadlineNext;
    else node.deadlinePrev.deadlineNext = node.deadlineNext;
    if (node.deadlineNext === null) this.#tail = node.deadlinePrev;
    else node.deadlineNext.deadlinePrev = node.deadlinePrev;
    node.deadlineQueue = null;
    node.deadlinePrev = null;
    node.deadlineNext = null;
    // The timer stays: it finds the next head when it fires, at most once per duration.
  }

  #arm(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#expire();
    }, ms);
    // A deadline alone keeps no process alive: the sockets that it watches do.
    this.#timer.unref();
  }

  #expire(): void {
    const nowMs = performance.now();
    while (this.#head !== null && this.#head.deadlineMs <= nowMs) {
      const node = this.#head;
      this.remove(node);
      node.onDeadline(this);
    }
    if (this.#head !== null && this.#timer === null) {
      this.#arm(Math.max(1, Math.ceil(this.#head.deadlineMs - nowMs)));
    }
  }
}
