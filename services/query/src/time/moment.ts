import type { Moment, MomentStep, MomentUnit, Period } from '@sockscope/schemas/api';
import { DAY_MS, HOUR_MS, MINUTE_MS, weekOf } from '@sockscope/schemas/sums';
import type { Span } from '../sums/plan.js';
import { momentOf, startOfDay, wallOf } from './zone.js';

const FIXED_MS = { s: 1_000, m: MINUTE_MS, h: HOUR_MS } as const;

/** Moves a wall clock by whole months. The day becomes the last of a shorter month. */
export function addMonths(wallMs: number, months: number): number {
  const wall = new Date(wallMs);
  const first = Date.UTC(wall.getUTCFullYear(), wall.getUTCMonth() + months, 1);
  const days =
    (Date.UTC(wall.getUTCFullYear(), wall.getUTCMonth() + months + 1, 1) - first) / DAY_MS;
  return first + (Math.min(wall.getUTCDate(), days) - 1) * DAY_MS + (wallMs - dayOf(wallMs));
}

const dayOf = (wallMs: number) => Math.floor(wallMs / DAY_MS) * DAY_MS;

/** Hours and less are exact; days and more are moved on the wall clock, so that noon stays noon. */
function back(ms: number, count: number, unit: MomentUnit, zone: string): number {
  if (unit === 's' || unit === 'm' || unit === 'h') return ms - count * FIXED_MS[unit];
  const wallMs = wallOf(ms, zone).getTime();
  switch (unit) {
    case 'd':
      return momentOf(wallMs - count * DAY_MS, zone);
    case 'w':
      return momentOf(wallMs - count * 7 * DAY_MS, zone);
    case 'M':
      return momentOf(addMonths(wallMs, -count), zone);
    case 'y':
      return momentOf(addMonths(wallMs, -12 * count), zone);
  }
}

/** The start of the unit that a time lies in, on the wall clock of the zone. */
export function floorOf(ms: number, unit: MomentUnit, zone: string): number {
  const wallMs = wallOf(ms, zone).getTime();
  const wall = new Date(wallMs);
  switch (unit) {
    case 's':
    case 'm':
    case 'h':
      // Offsets are whole seconds, and mostly whole minutes.
      return Math.floor(ms / 1_000) * 1_000 - (wallMs % FIXED_MS[unit]);
    case 'd':
      return startOfDay(ms, zone);
    case 'w':
      return momentOf(weekOf(wallMs), zone);
    case 'M':
      return momentOf(Date.UTC(wall.getUTCFullYear(), wall.getUTCMonth(), 1), zone);
    case 'y':
      return momentOf(Date.UTC(wall.getUTCFullYear(), 0, 1), zone);
  }
}

function stepped(ms: number, step: MomentStep, zone: string): number {
  return step.kind === 'floor'
    ? floorOf(ms, step.unit, zone)
    : back(ms, step.count, step.unit, zone);
}

/** Returns a point in time in milliseconds since 1970; nothing is before 1970. @param nowMs the value of `now`. */
export function momentMs(moment: Moment, nowMs: number, zone: string): number {
  switch (moment.kind) {
    case 'instant':
      return moment.ms;
    case 'date':
      return Math.max(0, momentOf(Date.parse(`${moment.date}T00:00:00.000Z`), zone));
    case 'now':
      return Math.max(
        0,
        moment.steps.reduce((ms, step) => stepped(ms, step, zone), nowMs),
      );
  }
}

/** Returns a whole calendar month or day. */
export function periodSpan({ unit, date }: Period, zone: string): Span {
  const wallMs = Date.parse(`${date}T00:00:00.000Z`);
  const next = unit === 'M' ? addMonths(wallMs, 1) : wallMs + DAY_MS;
  return { fromMs: Math.max(0, momentOf(wallMs, zone)), toMs: momentOf(next, zone) };
}
