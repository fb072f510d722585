import { readFileSync } from 'node:fs';

/** A session holds the client's and the destination's socket. */
const PER_SESSION = 2;
/** For the listener, Kafka, the spool, name servers, and sessions that just change hands. */
const RESERVE = 512;

/** How many descriptors this process may have open; null where the system does not say. */
export function descriptorLimit(
  readLimits: () => string = () => readFileSync('/proc/self/limits', 'utf8'),
): number | null {
  try {
    const match = /^Max open files\s+(\d+)/m.exec(readLimits());
    return match === null ? null : Number(match[1]);
  } catch {
    // Only Linux has this file.
    return null;
  }
}

/** How many sessions fit into so many descriptors. */
export function sessionsWithin(descriptors: number): number {
  return Math.max(0, Math.floor((descriptors - RESERVE) / PER_SESSION));
}
