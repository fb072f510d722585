import { Counter, Gauge, SockscopeError } from '@sockscope/runtime';
import type { CheckResult, Logger, MetricsSource, Registry } from '@sockscope/runtime';
import { CountLedger } from './count-ledger.js';
import type { Answers, FromWorker, MetricsSnapshot, Question, ToWorker } from './messages.js';
import { mergedText, withDeparted } from './metrics-merge.js';

/** A worker process, as its primary sees it. */
export interface WorkerProcess {
  readonly pid: number | undefined;
  send(message: ToWorker): void;
  kill(): void;
}

export interface WorkerEvents {
  message(message: FromWorker): void;
  /** Called once. */
  exit(code: number | null, signal: string | null): void;
}

/** Starts the process of worker `index`, which counts from 1. */
export type ForkWorker = (index: number, events: WorkerEvents) => WorkerProcess;

/** How often counts are exchanged: how long a limit may be exceeded for. */
export const EXCHANGE_MS = 50;
const ASK_TIMEOUT_MS = 1_500;
/** A worker that gave no sign of life for this long hangs, and is killed. By `performance.now()`, as all times here. */
const HANG_MS = 30_000;
/** A beat that is later than this shows that the primary itself stood still, and read no reports meanwhile. */
const STALL_MS = 1_000;
const RESTART_MIN_MS = 100;
const RESTART_MAX_MS = 30_000;
/** A worker that lived this long failed by chance; the next one starts at once again. */
const STEADY_MS = 60_000;

interface Slot {
  readonly index: number;
  process: WorkerProcess | null;
  isReady: boolean;
  startedMs: number;
  heardMs: number;
  failures: number;
  restart: NodeJS.Timeout | null;
  lastMetrics: MetricsSnapshot | null;
}

interface PendingQuestion {
  readonly index: number;
  readonly resolve: (answer: Answers[Question] | null) => void;
}

export interface WorkerPool {
  /** Resolves when all workers are ready. @throws SockscopeError if one ends before it was. */
  start(): Promise<void>;
  /** Drains all workers and waits for their end. */
  stop(): Promise<void>;
  reload(): void;
  /** Ok while at least one worker is. */
  check(question: 'live' | 'ready'): Promise<CheckResult>;
  readonly metrics: MetricsSource;
}

/**
 * Runs worker processes: replaces a dead one, with growing delay after repeated deaths,
 * and gathers their reports.
 */
export function createWorkerPool(
  config: { readonly count: number },
  deps: { readonly fork: ForkWorker; readonly logger: Logger; readonly registry: Registry },
): WorkerPool {
  const { logger, registry } = deps;
  const slots = Array.from({ length: config.count }, (_, i): Slot => ({
    index: i + 1,
    process: null,
    isReady: false,
    startedMs: 0,
    heardMs: 0,
    failures: 0,
    restart: null,
    lastMetrics: null,
  }));
  const ledger = new CountLedger();
  const pending = new Map<number, PendingQuestion>();
  let nextId = 0;
  let departed: MetricsSnapshot = [];
  let exchange: NodeJS.Timeout | null = null;
  let beatMs = 0;
  let isStopping = false;
  /** Settles the start; null once it is over. */
  let onStart: { readonly resolve: () => void; readonly reject: (error: Error) => void } | null =
    null;
  let onAllGone: (() => void) | null = null;

  const restarts = new Counter({
    name: 'sockscope_proxy_worker_restarts_total',
    help: 'Workers that died and were replaced.',
    registers: [registry],
  });
  new Gauge({
    name: 'sockscope_proxy_workers',
    help: 'Workers by state.',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      this.set({ state: 'wanted' }, slots.length);
      this.set({ state: 'ready' }, slots.filter((slot) => slot.isReady).length);
    },
  });

  function launch(slot: Slot): void {
    slot.restart = null;
    slot.isReady = false;
    slot.startedMs = performance.now();
    slot.heardMs = performance.now();
    const worker = deps.fork(slot.index, {
      message: (message) => {
        // A process's message may come after the news of its end, and is no longer true then.
        if (slot.process === worker) receive(slot, message);
      },
      exit: (code, signal) => {
        exited(slot, code, signal);
      },
    });
    slot.process = worker;
  }

  function receive(slot: Slot, message: FromWorker): void {
    slot.heardMs = performance.now();
    switch (message.kind) {
      case 'ready':
        slot.isReady = true;
        slot.process?.send({ kind: 'others', counts: ledger.snapshotFor(slot.index) });
        logger.info({ worker: slot.index, worker_pid: slot.process?.pid }, 'worker ready');
        if (slots.every((one) => one.isReady)) {
          onStart?.resolve();
          onStart = null;
        }
        return;
      case 'holds':
        ledger.report(slot.index, message.counts);
        return;
      case 'answer':
        pending.get(message.id)?.resolve(message.answer);
        return;
    }
  }

  function exited(slot: Slot, code: number | null, signal: string | null): void {
    const wasReady = slot.isReady;
    slot.process = null;
    slot.isReady = false;
    ledger.forget(slot.index);
    for (const question of pending.values())
      if (question.index === slot.index) question.resolve(null);
    keepCounters(slot);
    if (isStopping) {
      if (slots.every((one) => one.process === null)) onAllGone?.();
      return;
    }
    if (onStart !== null && !wasReady) {
      onStart.reject(
        new SockscopeError(
          'worker_failed',
          `worker ${slot.index} ended with ${signal ?? `exit code ${code}`} before it was ready; see its log`,
        ),
      );
      onStart = null;
      return;
    }
    slot.failures = performance.now() - slot.startedMs >= STEADY_MS ? 1 : slot.failures + 1;
    const delayMs = Math.min(RESTART_MAX_MS, RESTART_MIN_MS * 2 ** (slot.failures - 1));
    logger.error({ worker: slot.index, code, signal, restart_in_ms: delayMs }, 'worker died');
    slot.restart = setTimeout(() => {
      restarts.inc();
      launch(slot);
    }, delayMs);
  }

  function keepCounters(slot: Slot): void {
    const last = slot.lastMetrics;
    slot.lastMetrics = null;
    if (last === null) return;
    void withDeparted(departed, last).then(
      (sum) => {
        departed = sum;
      },
      (error: unknown) => {
        logger.warn(
          { err: error, worker: slot.index },
          'the last counters of a dead worker are lost',
        );
      },
    );
  }

  /** Exchanges counts between workers, and looks for a hanging one. */
  function beat(): void {
    const nowMs = performance.now();
    const stalledMs = nowMs - beatMs > STALL_MS ? nowMs - beatMs : 0;
    beatMs = nowMs;
    for (const slot of slots) slot.heardMs += stalledMs;
    const ready = slots.filter((slot) => slot.isReady);
    const updates = ledger.takeUpdates(ready.map((slot) => slot.index));
    for (const slot of ready) {
      const counts = updates.get(slot.index);
      if (counts !== undefined) slot.process?.send({ kind: 'others', counts });
      if (nowMs - slot.heardMs > HANG_MS) {
        logger.error({ worker: slot.index }, 'a worker hangs and is killed');
        slot.heardMs = nowMs;
        slot.process?.kill();
      }
    }
  }

  /** The answer of one worker; null if none arrived in time. */
  function ask<Q extends Question>(slot: Slot, question: Q): Promise<Answers[Q] | null> {
    const { process } = slot;
    if (process === null) return Promise.resolve(null);
    const id = nextId;
    nextId += 1;
    return new Promise((resolve) => {
      const settle = (answer: Answers[Question] | null): void => {
        clearTimeout(timer);
        pending.delete(id);
        // The id ties the answer to its question.
        resolve(answer as Answers[Q] | null);
      };
      const timer = setTimeout(() => {
        settle(null);
      }, ASK_TIMEOUT_MS);
      pending.set(id, { index: slot.index, resolve: settle });
      process.send({ kind: 'ask', id, question });
    });
  }

  async function gather(): Promise<MetricsSnapshot[]> {
    const answers = await Promise.all(
      slots.map(async (slot) => {
        const answer = await ask(slot, 'metrics');
        if (answer !== null) slot.lastMetrics = answer;
        // A worker that did not answer keeps its last counters, so that no sum falls.
        return answer ?? slot.lastMetrics ?? [];
      }),
    );
    return [await registry.getMetricsAsJSON(), departed, ...answers];
  }

  return {
    start() {
      beatMs = performance.now();
      exchange = setInterval(beat, EXCHANGE_MS);
      return new Promise((resolve, reject) => {
        onStart = { resolve, reject };
        for (const slot of slots) launch(slot);
      });
    },
    async stop() {
      isStopping = true;
      if (exchange !== null) clearInterval(exchange);
      for (const slot of slots) if (slot.restart !== null) clearTimeout(slot.restart);
      const alive = slots.filter((slot) => slot.process !== null);
      if (alive.length === 0) return;
      const gone = new Promise<void>((resolve) => {
        onAllGone = resolve;
      });
      for (const slot of alive) slot.process?.send({ kind: 'stop' });
      await gone;
    },
    reload() {
      for (const slot of slots) slot.process?.send({ kind: 'reload' });
    },
    async check(question) {
      const reports = await Promise.all(slots.map((slot) => ask(slot, question)));
      const good = reports.filter((report) => report?.ok === true).length;
      const details = reports.flatMap((report, i) =>
        Object.entries(report?.checks ?? { process: { ok: false, detail: 'gives no answer' } })
          .filter(([, result]) => !result.ok)
          .map(([name, result]) => `worker ${i + 1}: ${name}: ${result.detail ?? 'not ok'}`),
      );
      const detail = [`${good} of ${slots.length} workers`, ...details].join('; ');
      return { ok: good > 0, detail };
    },
    metrics: {
      contentType: registry.contentType,
      metrics: async () => await mergedText(await gather()),
    },
  };
}
