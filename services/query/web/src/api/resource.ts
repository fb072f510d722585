/**
 * An answer of the API that is kept up to date: a later question ends an earlier one, the last answer
 * stays until the next one is there, and a question that failed is asked again.
 */
import { signal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';
import { isPaused } from '../state/location.js';
import { Problem } from './problem.js';

export interface Loaded<T> {
  /** The last answer; null before the first. */
  readonly value: T | null;
  /** When that answer came, in milliseconds since 1970. */
  readonly at: number;
  readonly isLoading: boolean;
  readonly problem: Problem | null;
}

export interface Resource<T> {
  readonly state: ReadonlySignal<Loaded<T>>;
  /** Asks now, and again every `everyMs` while the page is visible. 0: once. */
  ask(question: (signal: AbortSignal) => Promise<T>, everyMs: number): void;
  retry(): void;
  stop(): void;
}

/** Time between two checks of a paused page for its continuation. */
const PAUSED_MS = 500;
/** Pause before a failed question is repeated; it doubles each time, up to a minute. */
const RETRY_MS = 2_000;
const RETRY_MAX_MS = 60_000;

export function createResource<T>(): Resource<T> {
  const state = signal<Loaded<T>>({ value: null, at: 0, isLoading: false, problem: null });
  let controller: AbortController | null = null;
  let timer: number | undefined;
  let question: ((signal: AbortSignal) => Promise<T>) | null = null;
  let interval = 0;
  let failures = 0;

  async function load(): Promise<void> {
    window.clearTimeout(timer);
    controller?.abort();
    if (question === null) return;
    const own = new AbortController();
    controller = own;
    state.value = { ...state.value, isLoading: true };
    try {
      const value = await question(own.signal);
      if (own.signal.aborted) return;
      failures = 0;
      state.value = { value, at: Date.now(), isLoading: false, problem: null };
      if (interval > 0) later(interval);
    } catch (error) {
      if (own.signal.aborted) return;
      const problem = Problem.of(error);
      state.value = { ...state.value, isLoading: false, problem };
      if (problem.mayPass) {
        later(problem.retryAfterMs ?? Math.min(RETRY_MS * 2 ** failures, RETRY_MAX_MS));
        failures += 1;
      }
    }
  }
  function later(ms: number): void {
    timer = window.setTimeout(() => {
      // A hidden page asks nothing; it asks when it is seen again.
      // A question without its answer is repeated even while the page is paused.
      if (isPaused.peek() && state.peek().problem === null) later(PAUSED_MS);
      else if (document.hidden) document.addEventListener('visibilitychange', seen, { once: true });
      else void load();
    }, ms);
  }
  function seen(): void {
    if (question !== null) void load();
  }

  return {
    state,
    ask(next, everyMs) {
      question = next;
      interval = everyMs;
      failures = 0;
      void load();
    },
    retry() {
      void load();
    },
    stop() {
      question = null;
      window.clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
      controller?.abort();
      if (state.peek().isLoading) state.value = { ...state.peek(), isLoading: false };
    },
  };
}
