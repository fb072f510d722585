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
/** An open session sends an event every 30 s. */
const SILENT_MS = 120_000;

/** How far the tables lag behind, in milliseconds; 0: not at all. */
export const lagMs = signal(0);
export const isOffline = signal(false);
export const isStale = computed(() => isOffline.value || lagMs.value > STALE_MS);

/** The lag that a pipeline reports: waiting partitions, and unread records. */
export function lagOf({ as_of, partitions }: Pipeline): number {
  const nowMs = Date.parse(as_of);
  return Math.max(
    0,
    ...partitions.map((each) => each.lag_ms),
    ...partitions.map(({ waits }) => (waits === null ? 0 : nowMs - Date.parse(waits.since))),
  );
}

async function look(): Promise<void> {
  // A tied key learns nothing about the pipeline as a whole.
  if (document.hidden || isTied.value) return;
  const ending = AbortSignal.timeout(EVERY_MS);
  try {
    const pipeline = await get<Pipeline>('/pipeline', [], ending);
    let lag = lagOf(pipeline);
    const storedAt = pipeline.events.last_stored_at;
    const silentMs = storedAt === null ? 0 : Date.parse(pipeline.as_of) - Date.parse(storedAt);
    if (silentMs > SILENT_MS) {
      // Silence is normal if nothing is open.
      const { total } = await get<{ total: number }>('/sessions/active', [['limit', '1']], ending);
      if (total > 0) lag = Math.max(lag, silentMs);
    }
    lagMs.value = lag;
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
