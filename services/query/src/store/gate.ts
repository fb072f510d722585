import { Counter, Gauge } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import { ProblemError } from '../problems/problem.js';

export interface GateConfig {
  /** Named in metrics: one of a fixed set. */
  readonly name: string;
  readonly running_max: number;
  readonly waiting_max: number;
  readonly wait_max_ms: number;
}

/** The caller that wants to pass. */
export interface Visitor {
  /** Fires when the client goes away. */
  readonly signal: AbortSignal;
  /** Owner of the share of the places; null or missing: it shares with all others. */
  readonly share?: string | null;
  /** When its request arrived, by performance.now(). The waits at all gates count from there; missing: from now. */
  readonly arrivedMs?: number;
}

/**
 * Admits a limited number at once; the next wait until a bounded time after their arrival; the rest are refused. Of
 * several shares none gets more than half of the places or a quarter of the line, and a place that
 * becomes free goes to the share that has the fewest.
 */
export interface Gate {
  /** @throws ProblemError overloaded, with Retry-After */
  pass<T>(visitor: Visitor, work: () => Promise<T>): Promise<T>;
  /** Takes a place. The caller releases it by the returned function, once. */
  enter(visitor: Visitor): Promise<() => void>;
}

interface Waiting {
  readonly share: string | null;
  readonly admit: () => void;
}

/** The largest part of one share, of the places and of the queue. */
const SHARE_OF_PLACES = 1 / 2;
const SHARE_OF_LINE = 1 / 4;

const RETRY_AFTER_SECONDS = 1;

export interface GateMetrics {
  readonly running: Gauge<'gate'>;
  readonly waiting: Gauge<'gate'>;
  readonly refused: Counter<'gate'>;
}

export function createGateMetrics(registry: Registry): GateMetrics {
  const labelNames = ['gate'] as const;
  return {
    running: new Gauge({
      name: 'sockscope_query_gate_running',
      help: 'Requests that are being answered.',
      labelNames,
      registers: [registry],
    }),
    waiting: new Gauge({
      name: 'sockscope_query_gate_waiting',
      help: 'Requests that wait for a place.',
      labelNames,
      registers: [registry],
    }),
    refused: new Counter({
      name: 'sockscope_query_gate_refused_total',
      help: 'Requests refused with 503 because too many were waiting.',
      labelNames,
      registers: [registry],
    }),
  };
}

export function createGate(config: GateConfig, metrics: GateMetrics): Gate {
  const gate = config.name;
  // A counter that begins with 1 has no increase in Prometheus, so the first refusal would not count.
  metrics.refused.inc({ gate }, 0);
  metrics.running.set({ gate }, 0);
  metrics.waiting.set({ gate }, 0);
  const line = new Set<Waiting>();
  const placesMax = Math.max(1, Math.ceil(config.running_max * SHARE_OF_PLACES));
  const waitingMax = Math.max(1, Math.ceil(config.waiting_max * SHARE_OF_LINE));
  /** Places taken by share. */
  const taken = new Map<string, number>();
  let running = 0;

  function refuse(detail: string): ProblemError {
    metrics.refused.inc({ gate });
    return new ProblemError('overloaded', detail, { retryAfterSeconds: RETRY_AFTER_SECONDS });
  }

  const placesOf = (share: string | null) => (share === null ? 0 : (taken.get(share) ?? 0));
  const mayHaveAPlace = (share: string | null) => share === null || placesOf(share) < placesMax;

  function take(share: string | null, places: 1 | -1): void {
    running += places;
    metrics.running.set({ gate }, running);
    if (share === null) return;
    const left = placesOf(share) + places;
    if (left === 0) taken.delete(share);
    else taken.set(share, left);
  }

  /** The longest waiting request of the share with the fewest places. */
  function nextInLine(): Waiting | undefined {
    let next: Waiting | undefined;
    for (const each of line) {
      if (!mayHaveAPlace(each.share)) continue;
      if (next === undefined || placesOf(each.share) < placesOf(next.share)) next = each;
    }
    return next;
  }

  function leave(share: string | null): void {
    take(share, -1);
    const next = nextInLine();
    if (next === undefined) return;
    line.delete(next);
    metrics.waiting.set({ gate }, line.size);
    take(next.share, 1);
    next.admit();
  }

  function leaveOnce(share: string | null): () => void {
    let isIn = true;
    return () => {
      if (isIn) leave(share);
      isIn = false;
    };
  }

  function wait(share: string | null, signal: AbortSignal, waitMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
      const giveUp = (error: ProblemError) => {
        end();
        line.delete(waiting);
        metrics.waiting.set({ gate }, line.size);
        reject(error);
      };
      const waiting: Waiting = {
        share,
        admit() {
          end();
          resolve();
        },
      };
      const onAbort = () => {
        giveUp(new ProblemError('overloaded', 'the client went away'));
      };
      const timer = setTimeout(() => {
        giveUp(refuse('the service is busy; try again later'));
      }, waitMs);
      signal.addEventListener('abort', onAbort, { once: true });
      line.add(waiting);
      metrics.waiting.set({ gate }, line.size);
    });
  }

  async function enter({ signal, share = null, arrivedMs }: Visitor): Promise<() => void> {
    if (running < config.running_max && mayHaveAPlace(share)) {
      take(share, 1);
      return leaveOnce(share);
    }
    if (line.size >= config.waiting_max) throw refuse('too many requests wait already');
    const own = share === null ? 0 : [...line].filter((each) => each.share === share).length;
    if (share !== null && own >= waitingMax) {
      throw refuse('too many requests of this key or token wait already');
    }
    const waitedMs = arrivedMs === undefined ? 0 : performance.now() - arrivedMs;
    if (waitedMs >= config.wait_max_ms) throw refuse('the service is busy; try again later');
    await wait(share, signal, config.wait_max_ms - waitedMs);
    return leaveOnce(share);
  }

  return {
    enter,
    async pass(visitor, work) {
      const done = await enter(visitor);
      try {
        return await work();
      } finally {
        done();
      }
    },
  };
}
