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

/** Lets so many through at once; the next wait in line for a bounded time; the rest are sent away. */
export interface Gate {
  /** @throws ProblemError overloaded, with Retry-After */
  pass<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>;
  /** Takes a place that the caller gives back by the returned function, once. */
  enter(signal: AbortSignal): Promise<() => void>;
}

interface Waiting {
  readonly admit: () => void;
}

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
      help: 'Requests sent away with 503 because too many were there.',
      labelNames,
      registers: [registry],
    }),
  };
}

export function createGate(config: GateConfig, metrics: GateMetrics): Gate {
  const gate = config.name;
  const line = new Set<Waiting>();
  let running = 0;

  function refuse(detail: string): ProblemError {
    metrics.refused.inc({ gate });
    return new ProblemError('overloaded', detail, { retryAfterSeconds: RETRY_AFTER_SECONDS });
  }

  function leave(): void {
    const [next] = line;
    if (next !== undefined) {
      // The place goes to the next in line, so the number of those running stays.
      line.delete(next);
      metrics.waiting.set({ gate }, line.size);
      next.admit();
      return;
    }
    running -= 1;
    metrics.running.set({ gate }, running);
  }

  function leaveOnce(): () => void {
    let isIn = true;
    return () => {
      if (isIn) leave();
      isIn = false;
    };
  }

  function wait(signal: AbortSignal): Promise<void> {
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
        admit() {
          end();
          resolve();
        },
      };
      const onAbort = () => {
        giveUp(new ProblemError('overloaded', 'the client went away'));
      };
      const timer = setTimeout(() => {
        giveUp(refuse('no place became free in time'));
      }, config.wait_max_ms);
      signal.addEventListener('abort', onAbort, { once: true });
      line.add(waiting);
      metrics.waiting.set({ gate }, line.size);
    });
  }

  async function enter(signal: AbortSignal): Promise<() => void> {
    if (running < config.running_max) {
      running += 1;
      metrics.running.set({ gate }, running);
      return leaveOnce();
    }
    if (line.size >= config.waiting_max) throw refuse('too many requests wait already');
    await wait(signal);
    return leaveOnce();
  }

  return {
    enter,
    async pass(signal, work) {
      const done = await enter(signal);
      try {
        return await work();
      } finally {
        done();
      }
    },
  };
}
