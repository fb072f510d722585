const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** The length of a day with its night in the live traffic. */
const SHORT_DAY_MS = 8 * 60_000;
const NIGHT = 0.15;

/** Connections a second of the live traffic at noon. */
export const NOON_PER_SECOND = 0.6;

/** Connections a second that begin at `ms`, of the live traffic and of the hour before it. */
export function livePerSecond(ms: number): number {
  const noonness = 0.5 - 0.5 * Math.cos((2 * Math.PI * (ms % SHORT_DAY_MS)) / SHORT_DAY_MS);
  return NOON_PER_SECOND * (NIGHT + (1 - NIGHT) * noonness);
}

/** Relative traffic of an office in each hour of UTC; the mean is 1. */
const BY_HOUR = [
  0.25, 0.2, 0.2, 0.2, 0.25, 0.4, 0.7, 1.3, 1.9, 2.1, 2.1, 1.9, 1.5, 1.8, 2, 1.9, 1.6, 1.1, 0.7,
  0.55, 0.5, 0.45, 0.4, 0.3,
];
/** Sunday to Saturday. */
const BY_WEEKDAY = [0.3, 1, 1.1, 1.1, 1.05, 0.9, 0.35];

/** Connections that began in the hour at `hourMs` of the history, if that ends at `endMs`. */
export function pastPerHour(hourMs: number, endMs: number): number {
  const at = new Date(hourMs);
  const rhythm = (BY_HOUR[at.getUTCHours()] ?? 1) * (BY_WEEKDAY[at.getUTCDay()] ?? 1);
  return meanPerHour((endMs - hourMs) / DAY_MS) * rhythm;
}

/**
 * The bytes of a past connection, as a multiple of one of today: there were fewer of them, and
 * the lines were as busy.
 */
export function pastVolume(hourMs: number, endMs: number): number {
  return (3 * meanPerHour(0)) / meanPerHour((endMs - hourMs) / DAY_MS);
}

/** The product was a trial, then a success. The last day is denser, so that it goes well with the live traffic. */
function meanPerHour(daysAgo: number): number {
  return 25 + 100 * Math.exp(-daysAgo / 15) + 200 * Math.exp(-daysAgo);
}
