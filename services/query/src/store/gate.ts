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
  /** It passed another gate before and has been worked for: after the longest wait it may wait as long again. */
  readonly isInside?: boolean;
}

/**
 * Admits a limited number at once; the next wait until a bounded time after their arrival; the rest are refused. Of
 * several shares none gets more than half of the places or a quarter of the line, and a place that
 * becomes free goes to the share that has the fewest.
 */
export interface Gate {
  /**
   * Refuses a request that would not pass in time, and takes no place for one that would: a check before any work.
   *
   * @throws ProblemError overloaded, with Retry-After
   */
  check(visitor: Omit<Visitor, 'signal'>): void;
  /** @throws ProblemError overloaded, with Retry-After */
  pass<T>(visitor: Visitor, work: () => Promise<T>): Promise<T>;
  /** Takes a place. The caller releases it by the returned function, once. */
  enter(visitor: Visitor): Promise<() => void>;
}

interface Waiting {
  /** Counts up by arrival. */
  readonly number: number;
  readonly share: string | null;
  readonly admit: () => void;
}

/** The largest part of one share, of the places and of the queue. */
const SHARE_OF_PLACES = 1 / 2;
const SHARE_OF_LINE = 1 / 4;

const refusalOf = (detail: string) =>
  new ProblemError('overloaded', detail, { retryAfterSeconds: 1 });
// Made once: the stack of an error would be a tenth of a refusal's cost.
const FULL = refusalOf('too many requests wait already');
const FULL_FOR_SHARE = refusalOf('too many requests of this key, token or address wait already');
const BUSY = refusalOf('the service is busy; try again later');

/** The pace of the line is measured over this time, and over at least this number of requests. */
const PACE_WINDOW_MS = 1_000;
const PACE_COUNT_MIN = 10;
/** Largest part of the longest wait that the pace may predict: it varies, and a refusal at once is the better one. */
const PREDICTED_PART_MAX = 0.6;

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
  /** Lines by share, each in the order of arrival. */
  const lines = new Map<string | null, Set<Waiting>>();
  let waiting = 0;
  let arrivals = 0;
  const pace = createPace(Math.max(1, config.running_max));
  const placesMax = Math.max(1, Math.ceil(config.running_max * SHARE_OF_PLACES));
  const waitingMax = Math.max(1, Math.ceil(config.waiting_max * SHARE_OF_LINE));
  /** Places taken by share. */
  const taken = new Map<string, number>();
  let running = 0;

  function refuse(refusal: ProblemError): ProblemError {
    metrics.refused.inc({ gate });
    return refusal;
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
    const firsts = [...lines].flatMap(([share, [first]]) =>
      first === undefined || !mayHaveAPlace(share) ? [] : [first],
    );
    const [next] = firsts.toSorted(
      (a, b) => placesOf(a.share) - placesOf(b.share) || a.number - b.number,
    );
    return next;
  }

  function joinLine(one: Waiting): void {
    if (waiting === 0) pace.begin();
    const line = lines.get(one.share) ?? new Set();
    lines.set(one.share, line.add(one));
    waiting += 1;
    metrics.waiting.set({ gate }, waiting);
  }

  function leaveLine(one: Waiting): void {
    const line = lines.get(one.share);
    if (line?.delete(one) !== true) return;
    if (line.size === 0) lines.delete(one.share);
    waiting -= 1;
    metrics.waiting.set({ gate }, waiting);
  }

  function leave(share: string | null): void {
    take(share, -1);
    const next = nextInLine();
    if (next === undefined) return;
    leaveLine(next);
    pace.count();
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
        leaveLine(one);
        reject(error);
      };
      arrivals += 1;
      const one: Waiting = {
        number: arrivals,
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
        giveUp(refuse(BUSY));
      }, waitMs);
      signal.addEventListener('abort', onAbort, { once: true });
      joinLine(one);
    });
  }

  const hasPlace = (share: string | null) => running < config.running_max && mayHaveAPlace(share);

  /** Returns the milliseconds that a request may still wait for a place. @throws ProblemError overloaded if that is too short */
  function patienceOf({ share = null, arrivedMs, isInside }: Omit<Visitor, 'signal'>): number {
    const waitedMs = arrivedMs === undefined ? 0 : performance.now() - arrivedMs;
    const leftMs = config.wait_max_ms - waitedMs;
    // A refusal would come late, so it has another chance. There are no more of these than places at the gate before.
    if (isInside === true && leftMs <= 0) return config.wait_max_ms;
    if (waiting >= config.waiting_max) throw refuse(FULL);
    const own = lines.get(share)?.size ?? 0;
    if (share !== null && own >= waitingMax) {
      throw refuse(FULL_FOR_SHARE);
    }
    // The shares have their turns one after the other.
    const ahead = Math.min(waiting, own * lines.size);
    if (leftMs <= 0 || pace.msFor(ahead) >= leftMs * PREDICTED_PART_MAX) {
      throw refuse(BUSY);
    }
    return leftMs;
  }

  async function enter(visitor: Visitor): Promise<() => void> {
    const { signal, share = null } = visitor;
    if (hasPlace(share)) take(share, 1);
    else await wait(share, signal, patienceOf(visitor));
    return leaveOnce(share);
  }

  return {
    check(visitor) {
      if (!hasPlace(visitor.share ?? null)) patienceOf(visitor);
    },
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

/** Pace of a line, measured only while requests wait, because otherwise the arrivals decide it. */
interface Pace {
  /** The first one waits. */
  begin(): void;
  /** One has got a place. */
  count(): void;
  /** Expected milliseconds until as many have got a place. */
  msFor(requests: number): number;
}

/** @param places until a pace is measured, at most as many are about to become free. */
function createPace(places: number): Pace {
  let sinceMs = 0;
  let counted = 0;
  let msForOne = 0;
  return {
    begin() {
      sinceMs = performance.now();
      counted = 0;
      msForOne = 0;
    },
    count() {
      counted += 1;
      const nowMs = performance.now();
      const isKnown = msForOne !== 0;
      if (counted < PACE_COUNT_MIN || (isKnown && nowMs - sinceMs < PACE_WINDOW_MS)) return;
      msForOne = (nowMs - sinceMs) / counted;
      sinceMs = nowMs;
      counted = 0;
    },
    msFor(requests) {
      // A line that fills before its pace is known would be refused all at once, and that takes long.
      const soFarMs = (performance.now() - sinceMs) / (counted + places);
      return requests * Math.max(msForOne, soFarMs);
    },
  };
}
