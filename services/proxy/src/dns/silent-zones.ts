import { LRUCache } from 'lru-cache';

/** Names below a zone whose servers did not answer, without one that did, until it counts as silent. */
const SILENT_AFTER = 8;
/** How long a zone counts as silent after the last name that it did not answer. */
const SILENT_MS = 30_000;
const ZONES_REMEMBERED_MAX = 10_000;

interface Zone {
  timeouts: number;
  untilMs: number;
}

/**
 * The domain that names are counted by: the last two labels. Under a public suffix such as co.uk
 * that is many owners' domain, so that only limits which share fairly may use it.
 */
export function zoneOf(name: string): string {
  return suffixOf(name, 2);
}

function suffixOf(name: string, labels: number): string {
  let at = name.length;
  for (let i = 0; i < labels; i += 1) {
    at = name.lastIndexOf('.', at - 1);
    if (at <= 0) return name;
  }
  return name.slice(at + 1);
}

/**
 * Remembers zones whose name servers do not answer. Only a zone of whose names none was answered
 * lately counts as silent, so that one silent domain below co.uk does not stop the others.
 */
export class SilentZones {
  readonly #zones = new LRUCache<string, Zone>({ max: ZONES_REMEMBERED_MAX });

  timedOut(name: string, nowMs: number): void {
    for (const suffix of new Set([suffixOf(name, 2), suffixOf(name, 3)])) {
      const zone = this.#zones.get(suffix);
      const timeouts = zone === undefined || zone.untilMs < nowMs ? 0 : zone.timeouts;
      this.#zones.set(suffix, { timeouts: timeouts + 1, untilMs: nowMs + SILENT_MS });
    }
  }

  answered(name: string): void {
    this.#zones.delete(suffixOf(name, 2));
    this.#zones.delete(suffixOf(name, 3));
  }

  /** The silent zone that the name lies in; null if there is none. */
  around(name: string, nowMs: number): string | null {
    for (const labels of [2, 3]) {
      const suffix = suffixOf(name, labels);
      const zone = this.#zones.get(suffix);
      if (zone !== undefined && zone.timeouts >= SILENT_AFTER && zone.untilMs >= nowMs) {
        return suffix;
      }
    }
    return null;
  }
}
