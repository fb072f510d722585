import { DeadlineQueue } from '../collections/deadline-queue.js';
import { SourceTree } from '../collections/source-tree.js';
import type { Admission, LimitName } from '../limits/admission.js';
import type { Connection } from './connection.js';

/** The places of handshakes. If all are taken, the source with most of them loses its oldest. */
export class HandshakePlaces {
  readonly #admission: Admission;
  readonly #taken = new SourceTree<Connection>();
  readonly #deadlines: DeadlineQueue;

  /** @param timeoutMs how long a handshake may take, in milliseconds. */
  constructor(admission: Admission, timeoutMs: number) {
    this.#admission = admission;
    this.#deadlines = new DeadlineQueue(timeoutMs);
  }

  /**
   * Takes a place until `give`. Returns null, or the limit that is reached.
   *
   * @param source that the place counts for; null until `attribute`.
   */
  take(client: Connection, source: string | null): LimitName | null {
    let limit = this.#admission.beginHandshake(source);
    if (limit === 'max_handshakes' || limit === 'descriptors') {
      const displaced = this.#taken.oldestToDisplace(client.networks);
      if (displaced === null) return limit;
      displaced.displace();
      limit = this.#admission.beginHandshake(source);
    }
    if (limit !== null) return limit;
    this.#taken.add(client.networks, client);
    this.#deadlines.add(client);
    return null;
  }

  /** Counts the place for the source that `rename` gives the client. Returns null, or the limit that is reached. */
  attribute(client: Connection, rename: () => void): LimitName | null {
    this.#taken.delete(client.networks, client);
    rename();
    this.#taken.add(client.networks, client);
    return this.#admission.attributeHandshake(client.source);
  }

  /** @param source that the place counted for. */
  give(client: Connection, source: string | null): void {
    this.#deadlines.remove(client);
    this.#taken.delete(client.networks, client);
    this.#admission.endHandshake(source);
  }
}
