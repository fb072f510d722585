/**
 * The sessions from before the start of the demo. Each hour is a function of its number and of the end of
 * the history, so the same history has the same sessions with the same ids: sent again, it adds nothing.
 */
import type { SessionEvent } from '@sockscope/schemas';
import {
  BEACON,
  DROPBOX,
  LEAK,
  MAILER,
  SCANNER,
  SHARED_ACCOUNT,
  TELEMETRY,
  type Land,
} from './cast.js';
import { volumeOf } from './kinds.js';
import { attemptOf, mailOf, planOf, planOfKind, visitOf, type Plan } from './plan.js';
import { gapMs, randomOf, type Random } from './random.js';
import { livePerSecond, pastPerHour, pastVolume } from './rhythm.js';
import { eventsOf } from './session-events.js';

export const HISTORY_DAYS = 65;
/** More than this is not written, even if the rhythm asks for it: the oldest days would be missing. */
export const HISTORY_EVENTS_MAX = 250_000;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Hours before the end in which the scanner was about. */
const SCANS_HOURS_AGO = new Set([3, 31, 170, 700, 1_200]);
const LEAK_HOURS_AGO = 2;
const MAIL_HOURS_AGO = 5;
const BEACON_HOURS = 24;
const SHARED_ACCOUNT_DAYS = 10;

export interface HistoryOptions {
  /** No session of the history is open at this time, in milliseconds since 1970. */
  readonly endMs: number;
  readonly land: Land;
  /** The id of the proxy that continues after the history. */
  readonly proxyId: string;
}

/** Yields the events of one day after the other, the newest day first. A session's events stand together. */
export function* history(options: HistoryOptions): Generator<readonly SessionEvent[], void> {
  let left = HISTORY_EVENTS_MAX;
  for (let day = 0; day <= HISTORY_DAYS; day += 1) {
    const events = eventsOfDay(dayOf(options.endMs) - day * DAY_MS, options);
    if (events.length > left) return;
    left -= events.length;
    yield events;
  }
}

function dayOf(ms: number): number {
  return ms - (ms % DAY_MS);
}

interface Start {
  readonly atMs: number;
  readonly plan: Plan;
  readonly random: Random;
}

function eventsOfDay(dayMs: number, options: HistoryOptions): SessionEvent[] {
  const { endMs, proxyId } = options;
  const beginMs = endMs - HISTORY_DAYS * DAY_MS;
  const starts: Start[] = [];
  for (let hourMs = dayMs; hourMs < dayMs + DAY_MS && hourMs < endMs; hourMs += HOUR_MS) {
    starts.push(...startsIn(hourMs, options));
  }
  return starts
    .filter(({ atMs }) => atMs >= beginMs)
    .toSorted((a, b) => a.atMs - b.atMs)
    .map(({ atMs, plan, random }) => eventsOf(plan, { random, startMs: atMs, proxyId }))
    .filter((events) => Date.parse(events.at(-1)?.occurred_at ?? '') < endMs)
    .flat();
}

function startsIn(hourMs: number, { endMs, land }: HistoryOptions): Start[] {
  const random = randomOf(hourMs / HOUR_MS);
  const hoursAgo = Math.floor((endMs - hourMs) / HOUR_MS);
  const plans = [
    ...officeHour(hourMs, endMs, random, land),
    ...(SCANS_HOURS_AGO.has(hoursAgo) ? scan(hourMs, land) : []),
    ...(hoursAgo === LEAK_HOURS_AGO ? [leak(hourMs, land)] : []),
    ...(hoursAgo === MAIL_HOURS_AGO ? mail(hourMs) : []),
    ...(hoursAgo < BEACON_HOURS ? beacon(hourMs, random, land) : []),
    ...(hoursAgo < SHARED_ACCOUNT_DAYS * 24 ? sharedAccount(hourMs, random, land) : []),
  ];
  return plans.map(([atMs, plan]) => ({ atMs: Math.floor(atMs), plan, random }));
}

type Timed = readonly [atMs: number, plan: Plan];

/** Everybody's connections: as today's in the last hour, else as rare and as large as they were then. */
function officeHour(hourMs: number, endMs: number, random: Random, land: Land): Timed[] {
  const found: Timed[] = [];
  const factor = pastVolume(hourMs, endMs);
  const perSecond = pastPerHour(hourMs, endMs) / 3_600;
  for (let atMs = hourMs; ;) {
    const isRecent = atMs >= endMs - HOUR_MS;
    atMs += gapMs(random, isRecent ? livePerSecond(atMs) : perSecond);
    if (atMs >= Math.min(hourMs + HOUR_MS, endMs)) return found;
    const plan = planOf(random, land);
    found.push([atMs, isRecent ? plan : enlarged(plan, factor)]);
  }
}

function enlarged(plan: Plan, factor: number): Plan {
  const { sent, received } = plan.volume;
  const volume = {
    ...plan.volume,
    sent: Math.round(sent * factor),
    received: Math.round(received * factor),
  };
  return { ...plan, volume };
}

function scan(hourMs: number, land: Land): Timed[] {
  return Array.from({ length: SCANNER.hosts }, (_, host) => [
    hourMs + 900_000 + host * 1_500,
    attemptOf(
      { user: SCANNER.name, source: SCANNER.source },
      `${SCANNER.network}.${String(host + 1)}`,
      land.ports.ssh,
    ),
  ]);
}

function leak(hourMs: number, land: Land): Timed {
  const who = { user: LEAK.name, source: LEAK.source };
  const volume = { sent: LEAK.bytes, received: 90_000, durationMs: 240_000, busy: 1 };
  return [hourMs + 1_200_000, visitOf(who, DROPBOX, land, volume)];
}

function mail(hourMs: number): Timed[] {
  const who = { user: MAILER.name, source: MAILER.source };
  return Array.from({ length: MAILER.sessions }, (_, index) => [
    hourMs + index * 90_000,
    mailOf(who, `mx${String(index + 1)}.partner.example`),
  ]);
}

function beacon(hourMs: number, random: Random, land: Land): Timed[] {
  const who = { user: BEACON.name, source: BEACON.source };
  return Array.from({ length: HOUR_MS / BEACON.everyMs }, (_, index) => [
    hourMs + index * BEACON.everyMs,
    visitOf(who, TELEMETRY, land, { ...volumeOf(random, 'api'), sent: 640 }),
  ]);
}

/** One account, five places at once, during working hours. */
function sharedAccount(hourMs: number, random: Random, land: Land): Timed[] {
  const hour = new Date(hourMs).getUTCHours();
  if (hour < 8 || hour > 16) return [];
  return SHARED_ACCOUNT.sources.map((source, index) => [
    hourMs + index * 240_000,
    { ...planOfKind(random, 'chat', land), user: SHARED_ACCOUNT.name, source },
  ]);
}
