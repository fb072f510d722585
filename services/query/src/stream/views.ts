import type { LiveSort, LiveWindow } from '@sockscope/schemas/api';
import { toTimestamp } from '@sockscope/schemas';
import type { Logger } from '@sockscope/runtime';
import type { Predicate } from '../filters/predicate.js';
import type { Presenter } from '../mask/presenter.js';
import { liveSessionsQuery } from '../sql/active.js';
import type { Store } from '../store/store.js';
import { rateSinceMs } from '../sums/rates.js';
import { FRAME_INTERVALS_MS, LIVE_SESSIONS_MAX, UNHEARD_MAX_MS } from './config.js';
import { frame } from './event.js';
import type { Hub } from './hub.js';
import { LiveSessions } from './live-sessions.js';

/** A view that a client asked for. Equal names are equal views: they share one computation and one text. */
export interface View {
  readonly name: string;
  readonly matches: Predicate;
  readonly sort: LiveSort;
  readonly limit: number;
  readonly presenter: Presenter;
}

export interface Views {
  /**
   * Adds a viewer, which gets a frame at once and then at every interval.
   *
   * @param write must not throw.
   * @returns a function that takes the viewer away.
   */
  join(view: View, write: (frame: string) => void): Promise<() => void>;
  stop(): void;
}

/** Share of the time between frames that making them may take. Beyond it, frames come less often. */
const BUSY_MAX = 0.25;
/** Frames come more often again when making them would take at most this share. */
const BUSY_AGAIN = 0.1;
const RELOAD_WAIT_MS = 2_000;

/** Leaves the thread to requests for a while: one key may have many views. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}

/**
 * Ranks the open sessions for all viewers together. Without viewers, nothing is read or kept.
 */
export function createViews(deps: {
  readonly hub: Hub;
  readonly store: Store;
  readonly logger: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}): Views {
  const { hub, store, logger } = deps;
  const sessions = new LiveSessions();
  const groups = new Map<
    string,
    { readonly view: View; readonly writers: Set<(t: string) => void> }
  >();
  let watching: Promise<void> | null = null;
  let leaveHub: (() => void) | null = null;
  let timer: NodeJS.Timeout | undefined;
  let pace = 0;
  let reload: NodeJS.Timeout | undefined;

  const everyMs = () => FRAME_INTERVALS_MS[pace] ?? 1_000;

  async function load(): Promise<void> {
    const joined = leaveHub;
    sessions.beginLoad();
    const nowMs = deps.now();
    const heardMs = nowMs - UNHEARD_MAX_MS;
    const sinceMs = rateSinceMs(nowMs);
    const rows = await store.ask(
      liveSessionsQuery({ heardMs, sinceMs, limit: LIVE_SESSIONS_MAX }),
      { signal: new AbortController().signal },
    );
    // All viewers may have left meanwhile, and others have come, who read the sessions themselves.
    if (leaveHub === joined) sessions.load(rows, { sinceMs, nowMs });
  }

  async function begin(): Promise<void> {
    leaveHub = await hub.join(
      {
        events(events) {
          for (const event of events) sessions.apply(event);
        },
        // Events were left out: the open sessions are read again, and shown as they are known until then.
        gap: () => {
          reload ??= setTimeout(() => {
            reload = undefined;
            load().catch((error: unknown) => {
              logger.warn({ err: error }, 'the live view was not refreshed');
            });
          }, RELOAD_WAIT_MS).unref();
        },
      },
      null,
    );
    try {
      await load();
    } catch (error) {
      end();
      throw error;
    }
    // All may have left meanwhile.
    if (groups.size === 0) end();
    else timer = setTimeout(() => void tick(), everyMs()).unref();
  }

  function end(): void {
    clearTimeout(timer);
    timer = undefined;
    clearTimeout(reload);
    reload = undefined;
    leaveHub?.();
    leaveHub = null;
    watching = null;
    pace = 0;
    sessions.clear();
  }

  function textOf(view: View): string {
    const nowMs = deps.now();
    const ranked = sessions.ranked(view, nowMs);
    const rate = (bytes: number) => Math.round(bytes);
    return frame('window', {
      as_of: toTimestamp(nowMs),
      every_ms: everyMs(),
      total: ranked.total,
      truncated: sessions.isTruncated,
      bytes_sent_per_second: rate(ranked.sentRate),
      bytes_received_per_second: rate(ranked.receivedRate),
      items: ranked.items.map(({ session, sentRate, receivedRate }) => ({
        ...view.presenter.session(session.row),
        bytes_sent_per_second: rate(sentRate),
        bytes_received_per_second: rate(receivedRate),
      })),
    } satisfies LiveWindow);
  }

  async function tick(): Promise<void> {
    const joined = leaveHub;
    sessions.expire(deps.now());
    let tookMs = 0;
    let pausedMs = 0;
    let viewMs: number | null = null;
    for (const { view, writers } of groups.values()) {
      if (viewMs !== null) {
        // A request needs several turns of the event loop, so the pause is as long as the work before.
        await pause(viewMs);
        pausedMs += viewMs;
      }
      // All viewers may have left meanwhile.
      if (leaveHub !== joined) return;
      const before = performance.now();
      const text = textOf(view);
      for (const write of writers) write(text);
      viewMs = performance.now() - before;
      tookMs += viewMs;
    }
    const faster = FRAME_INTERVALS_MS[pace - 1];
    if (tookMs > BUSY_MAX * everyMs()) pace = Math.min(pace + 1, FRAME_INTERVALS_MS.length - 1);
    else if (faster !== undefined && tookMs <= BUSY_AGAIN * faster) pace -= 1;
    timer = setTimeout(() => void tick(), Math.max(0, everyMs() - pausedMs)).unref();
  }

  return {
    async join(view, write) {
      let group = groups.get(view.name);
      if (group === undefined) {
        group = { view, writers: new Set() };
        groups.set(view.name, group);
      }
      const { writers } = group;
      writers.add(write);
      const leave = () => {
        writers.delete(write);
        if (writers.size === 0 && groups.get(view.name)?.writers === writers) {
          groups.delete(view.name);
        }
        // While the hub still starts, begin() ends it.
        if (groups.size === 0 && leaveHub !== null && timer !== undefined) end();
      };
      try {
        watching ??= begin();
        await watching;
      } catch (error) {
        watching = null;
        leave();
        throw error;
      }
      if (writers.has(write)) write(textOf(view));
      return leave;
    },
    stop() {
      groups.clear();
      end();
    },
  };
}
