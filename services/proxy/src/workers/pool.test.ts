import { createLogger, Counter, Gauge, Registry } from '@sockscope/runtime';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ToWorker } from './messages.js';
import { createWorkerPool } from './pool.js';
import type { WorkerEvents, WorkerPool, WorkerProcess } from './pool.js';

const logger = createLogger('test', { level: 'silent' });

/** A worker in this process: it answers, and dies on command. */
class FakeWorker implements WorkerProcess {
  readonly pid = 1;
  readonly sent: ToWorker[] = [];
  readonly registry = new Registry();
  readonly sessions = new Counter({
    name: 'sessions_total',
    help: 'x',
    registers: [this.registry],
  });
  readonly valid = new Gauge({
    name: 'file_valid',
    help: 'x',
    registers: [this.registry],
    aggregator: 'min',
  });
  isReadyOk = true;
  constructor(
    readonly index: number,
    readonly events: WorkerEvents,
  ) {
    this.valid.set(1);
  }

  send(message: ToWorker): void {
    this.sent.push(message);
    if (message.kind === 'stop') this.events.exit(0, null);
    if (message.kind === 'ask') void this.#answer(message);
  }

  async #answer({ id, question }: ToWorker & { kind: 'ask' }): Promise<void> {
    const answer =
      question === 'metrics'
        ? await this.registry.getMetricsAsJSON()
        : { ok: this.isReadyOk, checks: { kafka: { ok: this.isReadyOk, detail: 'away' } } };
    this.events.message({ kind: 'answer', id, answer });
  }

  kill(): void {
    this.events.exit(null, 'SIGKILL');
  }
}

describe('the pool of workers', () => {
  let forked: FakeWorker[];
  let registry: Registry;
  let pool: WorkerPool;

  beforeEach(() => {
    vi.useFakeTimers();
    forked = [];
    registry = new Registry();
    pool = createWorkerPool(
      { count: 2 },
      {
        logger,
        registry,
        fork: (index, events) => {
          const made = new FakeWorker(index, events);
          forked.push(made);
          return made;
        },
      },
    );
  });
  afterEach(async () => {
    await pool.stop();
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  /** The live process of worker `index`. */
  function worker(index: number): FakeWorker {
    const found = forked.findLast((one) => one.index === index);
    if (found === undefined) throw new Error(`no worker ${index}`);
    return found;
  }

  async function started(): Promise<void> {
    const start = pool.start();
    worker(1).events.message({ kind: 'ready' });
    worker(2).events.message({ kind: 'ready' });
    await start;
  }

  async function metric(name: string): Promise<string | undefined> {
    const text = await pool.metrics.metrics();
    return text
      .split('\n')
      .find((line) => line.startsWith(name))
      ?.split(' ')
      .at(-1);
  }

  it('has started when all are ready, and fails if one ends before', async () => {
    const start = pool.start();
    worker(1).events.message({ kind: 'ready' });
    worker(2).events.exit(2, null);
    await expect(start).rejects.toThrow('worker 2 ended with exit code 2 before it was ready');
  });

  it('replaces a dead worker, later and later if it dies again and again', async () => {
    await started();
    for (const delayMs of [100, 200, 400]) {
      const before = forked.length;
      worker(1).kill();
      await vi.advanceTimersByTimeAsync(delayMs - 1);
      expect(forked.length).toBe(before);
      await vi.advanceTimersByTimeAsync(1);
      expect(forked.length).toBe(before + 1);
    }
    worker(1).events.message({ kind: 'ready' });
    for (let i = 0; i < 60; i += 1) {
      await vi.advanceTimersByTimeAsync(1_000);
      for (const index of [1, 2]) worker(index).events.message({ kind: 'holds', counts: [] });
    }
    const before = forked.length;
    worker(1).kill();
    await vi.advanceTimersByTimeAsync(100);
    expect(forked.length).toBe(before + 1);
    expect(await metric('sockscope_proxy_worker_restarts_total')).toBe('4');
  });

  it('kills and replaces a worker that hangs', async () => {
    await started();
    for (let i = 0; i < 31; i += 1) {
      await vi.advanceTimersByTimeAsync(1_000);
      worker(2).events.message({ kind: 'holds', counts: [] });
    }
    expect(forked.map((one) => one.index)).toEqual([1, 2, 1]);
  });

  /** Time between two signs of life of a worker. */
  async function pass(ms: number): Promise<void> {
    for (let passedMs = 0; passedMs < ms; passedMs += 500) {
      await vi.advanceTimersByTimeAsync(500);
      for (const index of [1, 2]) worker(index).events.message({ kind: 'holds', counts: [] });
    }
  }

  it.each([-3_600_000, 3_600_000])(
    'kills no worker when the wall clock is set by %i ms, and still kills a hanging one',
    async (stepMs) => {
      await started();
      await pass(2_000);
      vi.setSystemTime(Date.now() + stepMs);
      await pass(2_000);
      expect(forked).toHaveLength(2);
      await vi.advanceTimersByTimeAsync(31_000);
      expect(forked.map((one) => one.index)).toEqual([1, 2, 1, 2]);
    },
  );

  it('kills no worker if the primary itself was stopped', async () => {
    await started();
    await pass(2_000);
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 3_600_000);
    await pass(2_000);
    expect(forked).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(31_000);
    expect(forked.map((one) => one.index)).toEqual([1, 2, 1, 2]);
  });

  it('adds up the metrics, and no sum falls when a worker dies', async () => {
    await started();
    worker(1).sessions.inc(10);
    worker(2).sessions.inc(5);
    worker(2).valid.set(0);
    expect(await metric('sessions_total')).toBe('15');
    expect(await metric('file_valid')).toBe('0');
    worker(2).kill();
    expect(await metric('sessions_total')).toBe('15');
    await vi.advanceTimersByTimeAsync(100);
    worker(2).sessions.inc(1);
    expect(await metric('sessions_total')).toBe('16');
    expect(await metric('file_valid')).toBe('1');
    expect(await metric('sockscope_proxy_workers{state="ready"}')).toBe('1');
  });

  it('is ready while one worker is, and reports the problems of the others', async () => {
    await started();
    worker(1).isReadyOk = false;
    expect(await pool.check('ready')).toEqual({
      ok: true,
      detail: '1 of 2 workers; worker 1: kafka: away',
    });
    worker(2).kill();
    expect(await pool.check('ready')).toEqual({
      ok: false,
      detail: '0 of 2 workers; worker 1: kafka: away; worker 2: process: gives no answer',
    });
  });

  it('sends workers the counts of the others, and that a dead one holds nothing', async () => {
    await started();
    worker(1).events.message({ kind: 'holds', counts: [['max_sessions_per_user', 'alice', 3]] });
    await vi.advanceTimersByTimeAsync(50);
    expect(worker(2).sent.at(-1)).toEqual({
      kind: 'others',
      counts: [['max_sessions_per_user', 'alice', 3]],
    });
    worker(1).kill();
    await vi.advanceTimersByTimeAsync(50);
    expect(worker(2).sent.at(-1)).toEqual({
      kind: 'others',
      counts: [['max_sessions_per_user', 'alice', 0]],
    });
  });

  it('ignores messages of a worker that arrive after its end', async () => {
    await started();
    const dead = worker(1);
    dead.kill();
    dead.events.message({ kind: 'holds', counts: [['max_sessions_per_user', 'alice', 3]] });
    dead.events.message({ kind: 'ready' });
    await vi.advanceTimersByTimeAsync(100);
    dead.events.message({ kind: 'holds', counts: [['max_sessions_per_user', 'alice', 3]] });
    await vi.advanceTimersByTimeAsync(50);
    expect(worker(2).sent.filter(({ kind }) => kind === 'others')).toEqual([
      { kind: 'others', counts: [] },
    ]);
    expect(await metric('sockscope_proxy_workers{state="ready"}')).toBe('1');
  });

  it('passes a reload on, and stops when all have ended', async () => {
    await started();
    pool.reload();
    expect(worker(2).sent.at(-1)).toEqual({ kind: 'reload' });
    await pool.stop();
    expect(worker(1).sent.at(-1)).toEqual({ kind: 'stop' });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(forked.length).toBe(2);
  });
});
