import { DeadlineQueue } from '../collections/deadline-queue.js';
import { SourceTree } from '../collections/source-tree.js';
import type { Connection } from './connection.js';

/** Refused clients that have not closed yet. Above the limit, the source with most of them loses its oldest. */
export class Lingering {
  readonly #max: number;
  readonly #clients = new SourceTree<Connection>();
  readonly #deadlines: DeadlineQueue;

  /** @param timeoutMs how long a client is waited for, in milliseconds. */
  constructor(max: number, timeoutMs: number) {
    this.#max = max;
    this.#deadlines = new DeadlineQueue(timeoutMs);
  }

  add(client: Connection): void {
    this.#deadlines.add(client);
    this.#clients.add(client.networks, client);
    if (this.#clients.size > this.#max) this.#clients.oldestOfLargest()?.destroy();
  }

  delete(client: Connection): void {
    this.#deadlines.remove(client);
    this.#clients.delete(client.networks, client);
  }
}
