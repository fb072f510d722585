/** Whether the stored data is up to date. A page with old numbers shows a banner. */
import type { Schemas } from '@sockscope/client';
import { computed, signal } from '@preact/signals';
import { get } from '../api/client.js';
import { Problem } from '../api/problem.js';
import { isTied } from './me.js';

export type Pipeline = Schemas['Pipeline'];

/** Nobody calls numbers of less than this old. */
export const STALE_MS = 60_000;
const EVERY_MS = 15_000;

/** How far the tables lag behind, in milliseconds; 0: not at all. */
export const lagMs = signal(0);
export const isOffline = signal(false);
export const isStale = computed(() => isOffline.value || lagMs.value > STALE_MS);

/** Time without events although sessions are open, in milliseconds; 0: there are events, or nothing is open. */
export function silenceOf({ as_of, events }: Pipeline): number {
  return events.silent_since === null ? 0 : Date.parse(as_of) - Date.parse(events.silent_since);
}

/** The lag that a pipeline reports: waiting partitions, unread records, and silence. */
export function lagOf(pipeline: Pipeline): number {
  const { as_of, partitions } = pipeline;
  const nowMs = Date.parse(as_of);
  return Math.max(
    silenceOf(pipeline),
    ...partitions.map((each) => each.lag_ms),
    ...partitions.map(({ waits }) => (waits === null ? 0 : nowMs - Date.parse(waits.since))),
  );
}

async function look(): Promise<void> {
  // A tied key learns nothing about the pipeline as a whole.
  if (document.hidden || isTied.value) return;
  const ending = AbortSignal.timeout(EVERY_MS);
  try {
    lagMs.value = lagOf(await get<Pipeline>('/pipeline', [], ending));
    isOffline.value = false;
  } catch (error) {
    isOffline.value = Problem.of(error).status === 0;
  }
}

/** Checks periodically while the page is visible. */
export function watchFreshness(): () => void {
  void look();
  const timer = window.setInterval(() => void look(), EVERY_MS);
  return () => {
    window.clearInterval(timer);
  };
}
