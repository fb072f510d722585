import { LRUCache } from 'lru-cache';

/** Unanswered names in a row after which a zone counts as silent. */
const SILENT_AFTER = 8;
/** How long a zone counts as silent after the last name that it did not answer. */
const SILENT_MS = 30_000;
const ZONES_REMEMBERED_MAX = 10_000;

interface Zone {
  timeouts: number;
  untilMs: number;
}

/**
 * Returns the domain by which names are counted: the last two labels. Below a public suffix such as
 * co.uk many owners share it, so only limits that share fairly may use it.
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
 * Remembers zones whose name servers do not answer. A zone counts as silent only if none of its names
 * was answered recently, so one silent domain below co.uk does not stop the others.
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

  /** The silent zone of the name; null if there is none. */
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
