import type { SessionRow } from '@sockscope/schemas';
import type { Figures } from '@sockscope/schemas/api';
import { SUM_NAMES } from '@sockscope/schemas/sums';
import type { SumName } from '@sockscope/schemas/sums';
import type { Minute, World } from './world.js';

/** Plain computations over the folded events, to compare answers with. */

export type Counted = { -readonly [N in SumName]: number };

export function nothing(): Counted {
  return Object.fromEntries(SUM_NAMES.map((name) => [name, 0])) as Counted;
}

/** Returns the figures as answers show them. */
export function figuresOf(counted: Counted): Figures {
  return {
    ...counted,
    sessions_ended: counted.sessions_closed + counted.sessions_failed + counted.sessions_rejected,
    bytes: counted.bytes_sent + counted.bytes_received,
  };
}

export interface Range {
  readonly fromMs: number;
  readonly toMs: number;
}

export type Predicate = (row: SessionRow) => boolean;
export type KeyOf = (row: SessionRow) => string;

export const everything: Predicate = () => true;
const within = (range: Range, ms: number) => ms >= range.fromMs && ms < range.toMs;

function countEnd(counted: Counted, row: SessionRow): void {
  if (row.status === 'closed') counted.sessions_closed += 1;
  if (row.status === 'failed') counted.sessions_failed += 1;
  if (row.status === 'rejected_by_acl') counted.sessions_rejected += 1;
  counted.duration_ms += row.duration_ms ?? 0;
}

function countBytes(counted: Counted, of: Minute['counters']): void {
  counted.bytes_sent += of.bytes_sent;
  counted.bytes_received += of.bytes_received;
  counted.packets_sent += of.packets_sent;
  counted.packets_received += of.packets_received;
}

/** Counts by key: sessions at their start and at their end, traffic in its minute. */
export function countBy(
  world: World,
  /** `moved`: the range of the traffic, if it differs from the range of sessions. */
  range: Range & { readonly moved?: Range },
  keyOf: KeyOf,
  matches: Predicate = everything,
): Map<string, Counted> {
  const byKey = new Map<string, Counted>();
  const at = (key: string) => {
    const known = byKey.get(key) ?? nothing();
    byKey.set(key, known);
    return known;
  };
  for (const row of world.sessions) {
    if (!matches(row)) continue;
    if (within(range, Date.parse(row.started_at))) at(keyOf(row)).sessions_started += 1;
    if (row.ended_at !== null && within(range, Date.parse(row.ended_at))) {
      countEnd(at(keyOf(row)), row);
    }
  }
  for (const minute of world.minutes) {
    if (matches(minute.row) && within(range.moved ?? range, minute.bucketMs)) {
      countBytes(at(keyOf(minute.row)), minute.counters);
    }
  }
  return byKey;
}

/** Counts by key: everything of a session at its end. */
export function countAtEndBy(
  world: World,
  range: Range,
  keyOf: KeyOf,
  matches: Predicate = everything,
): Map<string, Counted> {
  const byKey = new Map<string, Counted>();
  for (const row of world.sessions) {
    if (row.ended_at === null || !within(range, Date.parse(row.ended_at)) || !matches(row))
      continue;
    const counted = byKey.get(keyOf(row)) ?? nothing();
    byKey.set(keyOf(row), counted);
    counted.sessions_started += 1;
    countEnd(counted, row);
    countBytes(counted, row);
  }
  return byKey;
}

export function count(world: World, range: Range, matches: Predicate = everything): Counted {
  return countBy(world, range, () => '', matches).get('') ?? nothing();
}

/** Sessions that were open at a time. */
export function openAt(world: World, ms: number, matches: Predicate = everything): number {
  return world.sessions.filter(
    (row) =>
      matches(row) &&
      Date.parse(row.started_at) < ms &&
      (row.ended_at === null || Date.parse(row.ended_at) >= ms),
  ).length;
}
