import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { BEACON, SCANNER, SHARED_ACCOUNT, TELEMETRY, type Kind, type Land } from './cast.js';
import { runPlan } from './client.js';
import { volumeOf } from './kinds.js';
import { attemptOf, planOf, planOfKind, visitOf, type Plan } from './plan.js';
import { gapMs, oneOf, type Random } from './random.js';
import { livePerSecond } from './rhythm.js';

/** Connections at once; at more, new ones are not begun. */
const OPEN_MAX = 150;
/** Long connections that are always open, so that the live view shows some at night. */
const RESIDENTS = 16;
const RESIDENT_KINDS: readonly Kind[] = ['chat', 'shell', 'video'];
const RESIDENT_PAUSE_MS = 2_000;
/** Time between two visits of the scanner. */
const SCAN_EVERY_MS = 20 * 60_000;
const SCAN_FIRST_MS = 60_000;
const SCAN_GAP_MS = 500;
/** No wait is longer, so that a stop and a changed rate are noticed. */
const WAIT_MAX_MS = 5_000;

export interface TrafficOptions {
  readonly proxy: { readonly host: string; readonly port: number };
  readonly land: Land;
  readonly random: Random;
}

export interface Traffic {
  /** Ends all connections and resolves when they have ended. */
  stop(): Promise<void>;
}

/** Everybody's connections through the proxy until it is stopped. */
export function startTraffic({ proxy, land, random }: TrafficOptions): Traffic {
  const abort = new AbortController();
  const { signal } = abort;
  // One for each connection and for each role that waits.
  setMaxListeners(2 * OPEN_MAX, signal);
  const open = new Set<Promise<void>>();

  /** Resolves when it has ended, or at once if there are too many. */
  async function begin(plan: Plan): Promise<void> {
    if (open.size >= OPEN_MAX || signal.aborted) return;
    const running = runPlan(plan, proxy, signal);
    open.add(running);
    await running;
    open.delete(running);
  }

  async function everybody(): Promise<void> {
    for (;;) {
      const waitMs = gapMs(random, livePerSecond(Date.now()));
      await delay(Math.min(waitMs, WAIT_MAX_MS), null, { signal });
      if (waitMs <= WAIT_MAX_MS) void begin(planOf(random, land));
    }
  }

  async function resident(): Promise<void> {
    for (;;) {
      await begin(planOfKind(random, oneOf(random, RESIDENT_KINDS), land));
      await delay(RESIDENT_PAUSE_MS, null, { signal });
    }
  }

  /** One account in as many places at once. */
  async function sharer(source: string): Promise<void> {
    for (;;) {
      const chat = planOfKind(random, 'chat', land);
      await begin({ ...chat, user: SHARED_ACCOUNT.name, source });
      await delay(RESIDENT_PAUSE_MS, null, { signal });
    }
  }

  async function beacon(): Promise<void> {
    const who = { user: BEACON.name, source: BEACON.source };
    for (;;) {
      const { everyMs } = BEACON;
      await delay(everyMs - (Date.now() % everyMs), null, { signal });
      void begin(visitOf(who, TELEMETRY, land, { ...volumeOf(random, 'api'), sent: 640 }));
    }
  }

  async function scanner(): Promise<void> {
    const who = { user: SCANNER.name, source: SCANNER.source };
    await delay(SCAN_FIRST_MS, null, { signal });
    for (;;) {
      for (let host = 1; host <= SCANNER.hosts; host += 1) {
        void begin(attemptOf(who, `${SCANNER.network}.${String(host)}`, land.ports.ssh));
        await delay(SCAN_GAP_MS, null, { signal });
      }
      await delay(SCAN_EVERY_MS, null, { signal });
    }
  }

  const roles = [
    everybody(),
    beacon(),
    scanner(),
    ...SHARED_ACCOUNT.sources.map(sharer),
    ...Array.from({ length: RESIDENTS }, resident),
  ];
  // Each ends only by the signal.
  const ended = Promise.allSettled(roles);
  return {
    async stop() {
      abort.abort();
      await ended;
      await Promise.allSettled(open);
    },
  };
}
