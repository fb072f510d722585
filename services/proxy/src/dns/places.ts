import { SourceTree } from '../collections/source-tree.js';
import { zoneOf } from './silent-zones.js';

/** A holder of a place, or a waiter for one. */
export interface PlaceHolder {
  readonly name: string;
  /** Networks of the source that asked first, from the widest one to the source itself. */
  readonly networks: readonly string[];
  start(): void;
  /** It has lost its place in the queue to a source that has fewer. */
  displaced(): void;
}

/** Shares of all places: of one network, of one zone, and the places reserved for sources that hold few. */
const NETWORK_SHARE = 1 / 4;
const ZONE_SHARE = 1 / 16;
const KEPT_SHARE = 1 / 4;
const FEW = 8;
/** Waiting names that are searched for one that may start. */
const MAX_LOOKS = 64;

/**
 * Places for names that are being resolved. Sources that wait are served in turn. No network and
 * no zone gets more than its share, because names whose servers are silent hold their places long.
 */
export class Places {
  readonly #most: number;
  readonly #mostWaiting: number;
  readonly #active = new SourceTree<PlaceHolder>();
  readonly #waiting = new SourceTree<PlaceHolder>();
  readonly #activeByZone = new Map<string, number>();

  constructor(most: number, mostWaiting: number) {
    this.#most = most;
    this.#mostWaiting = mostWaiting;
  }

  get active(): number {
    return this.#active.size;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Starts `holder` now or later. False when there is no room for it to wait. */
  enter(holder: PlaceHolder): boolean {
    // Waiting names may not start now, or they would have.
    const isFirst = this.#waiting.sizeOf(holder.networks.slice(0, 1)) === 0;
    if (isFirst && this.#mayStart(holder)) {
      this.#start(holder);
      return true;
    }
    if (this.#waiting.size >= this.#mostWaiting) {
      const displaced = this.#waiting.oldestToDisplace(holder.networks);
      if (displaced === null) return false;
      this.#waiting.delete(pathOf(displaced), displaced);
      displaced.displaced();
    }
    this.#waiting.add(pathOf(holder), holder);
    this.#startWaiting();
    return true;
  }

  /** Removes a waiting or active one. */
  leave(holder: PlaceHolder): void {
    if (this.#waiting.delete(pathOf(holder), holder)) return;
    if (!this.#active.delete(holder.networks, holder)) return;
    const zone = zoneOf(holder.name);
    const count = (this.#activeByZone.get(zone) ?? 0) - 1;
    if (count > 0) this.#activeByZone.set(zone, count);
    else this.#activeByZone.delete(zone);
    this.#startWaiting();
  }

  #share(share: number): number {
    return Math.max(1, Math.floor(this.#most * share));
  }

  #mayStart({ name, networks }: PlaceHolder): boolean {
    const { size } = this.#active;
    if (size >= this.#most) return false;
    if ((this.#activeByZone.get(zoneOf(name)) ?? 0) >= this.#share(ZONE_SHARE)) return false;
    const held = this.#active.sizeOf(networks.slice(0, 1));
    if (held >= this.#share(NETWORK_SHARE)) return false;
    return held < FEW || size < this.#most - Math.floor(this.#most * KEPT_SHARE);
  }

  #start(holder: PlaceHolder): void {
    this.#active.add(holder.networks, holder);
    const zone = zoneOf(holder.name);
    this.#activeByZone.set(zone, (this.#activeByZone.get(zone) ?? 0) + 1);
    holder.start();
  }

  #startWaiting(): void {
    for (let looks = 0; looks < MAX_LOOKS && this.#active.size < this.#most; looks += 1) {
      const holder = this.#waiting.next();
      if (holder === null) return;
      if (!this.#mayStart(holder)) continue;
      this.#waiting.delete(pathOf(holder), holder);
      this.#start(holder);
    }
  }
}

/** Zones take turns within a source, so that a full one does not hold up the others. */
function pathOf({ networks, name }: PlaceHolder): readonly string[] {
  return [...networks, zoneOf(name)];
}
