/**
 * Guarantee: a client gets every event that is stored while it listens, or since its Last-Event-ID,
 * and was not older than NEWS_MAX_MS then (imports and rebuilds are left out),
 * at least once, in the order of storing, except events that become visible late; or a frame `gap` with
 * the range in which events were left out. Memory is bounded: by REPLAY_MAX and SEEN_MAX for all,
 * by `buffer_max_bytes` and one poll's events for each client.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { createLogLimiter } from '@sockscope/runtime';
import type { Component, Logger } from '@sockscope/runtime';
import { toTimestamp } from '@sockscope/schemas';
import { LRUCache } from 'lru-cache';
import { clockQuery, storedSinceQuery } from '../sql/stream.js';
import type { StoredEvent, StoredPosition } from '../sql/stream.js';
import { ProblemError } from '../problems/problem.js';
import type { Store } from '../store/store.js';
import {
  LAG_MAX_MS,
  OVERLAP_MS,
  POLL_ROWS_MAX,
  REPLAY_MAX,
  RESUME_MAX_MS,
  SEEN_MAX,
} from './config.js';
import type { StreamConfig } from './config.js';
import { liveEventOf } from './event.js';
import type { LiveEvent, Position } from './event.js';
import type { StreamMetrics } from './metrics.js';

/** A listener. Neither function may throw. */
export interface Listener {
  events(events: readonly LiveEvent[]): void;
  gap(fromMs: number, toMs: number): void;
}

export interface Hub extends Component {
  start(): void;
  stop(): Promise<void>;
  /** Names this process in positions. */
  readonly name: string;
  /**
   * Adds a listener and resolves when nothing stored from then on will be missed, after it was given
   * the events stored since its position.
   *
   * @returns a function that takes it away.
   * @throws ProblemError or ClickHouseError if the database cannot be asked.
   */
  join(listener: Listener, since: Position | null): Promise<() => void>;
}

const ERROR_WAIT_MS = 2_000;
const BEGIN_MAX_MS = 10_000;

export function createHub(
  config: StreamConfig,
  deps: { readonly store: Store; readonly logger: Logger; readonly metrics: StreamMetrics },
): Hub {
  const { store, logger, metrics } = deps;
  const name = randomBytes(4).toString('hex');
  const listeners = new Set<Listener>();
  const seen = new LRUCache<string, true>({ max: SEEN_MAX });
  const ending = new AbortController();
  const complaints = createLogLimiter(30_000);
  let replay: (LiveEvent & { readonly n: number })[] = [];
  let nextN = 0;
  /** Everything stored before this time has been handed out; null while nobody listens. */
  let readToMs: number | null = null;
  /** The last row of a poll that was full: there is more behind it. Null if no poll was full. */
  let more: StoredPosition | null = null;
  let polling: Promise<void> | null = null;
  let wake: () => void = () => undefined;
  /** Clients that wait for the polls to begin; an error ends their wait. */
  const waitingToBegin = new Set<(refusal?: ProblemError) => void>();

  async function databaseNow(): Promise<number> {
    const [row] = await store.ask(clockQuery(), ending);
    return Date.parse(row?.now ?? '');
  }

  function handOut(rows: readonly StoredEvent[]): void {
    const fresh: (LiveEvent & { readonly n: number })[] = [];
    for (const row of rows) {
      const key = `${row.session_id}/${row.seq}`;
      if (seen.get(key) === true) continue;
      seen.set(key, true);
      const event = { ...liveEventOf(row, nextN), n: nextN };
      nextN += 1;
      metrics.events.inc({ type: event.type });
      fresh.push(event);
    }
    if (fresh.length === 0) return;
    replay.push(...fresh);
    for (const listener of listeners) listener.events(fresh);
    if (replay.length > 2 * REPLAY_MAX) replay = replay.slice(-REPLAY_MAX);
  }

  async function poll(fromMs: number): Promise<void> {
    // Among many rows of one time, going back would read the same rows forever.
    const sinceMs = more === null ? fromMs - OVERLAP_MS : Date.parse(more.ingested_at);
    const rows = await store.ask(storedSinceQuery(sinceMs, POLL_ROWS_MAX, more), ending);
    handOut(rows);
    const last = rows.at(-1);
    if (last !== undefined) readToMs = Math.max(fromMs, Date.parse(last.ingested_at));
    more = rows.length === POLL_ROWS_MAX ? (last ?? null) : null;
  }

  /** Events of a time so crowded that polls cannot keep up are left out. */
  async function skipWhereBehind(fromMs: number): Promise<void> {
    const nowMs = await databaseNow();
    if (nowMs - fromMs <= LAG_MAX_MS) return;
    metrics.skipped.inc();
    for (const listener of listeners) listener.gap(fromMs, nowMs);
    readToMs = nowMs;
    more = null;
    forget();
  }

  /** Makes sure that nobody continues from memory over events that were never handed out. */
  function forget(): void {
    replay = [];
    nextN += 1;
  }

  /** Pages of the events stored since a time, each beginning at the end of the previous one. */
  async function* pagesSince(sinceMs: number): AsyncGenerator<readonly StoredEvent[]> {
    for (let after: StoredPosition | null = null; ;) {
      const query = storedSinceQuery(sinceMs, POLL_ROWS_MAX, after);
      const rows: readonly StoredEvent[] = await store.ask(query, ending);
      yield rows;
      after = rows.at(-1) ?? null;
      if (rows.length < POLL_ROWS_MAX) return;
    }
  }

  /** Begins with the present: stored events are not news, but events that become visible late are. */
  async function begin(): Promise<number> {
    const nowMs = await databaseNow();
    let noted = 0;
    for await (const rows of pagesSince(nowMs - OVERLAP_MS)) {
      for (const row of rows) {
        if (Date.parse(row.ingested_at) < nowMs) seen.set(`${row.session_id}/${row.seq}`, true);
      }
      noted += rows.length;
      if (noted >= SEEN_MAX) break;
    }
    return nowMs;
  }

  async function round(): Promise<void> {
    readToMs ??= await begin();
    for (const tell of waitingToBegin) tell();
    waitingToBegin.clear();
    await poll(readToMs);
    if (more !== null) await skipWhereBehind(readToMs);
    else await idle(config.poll_interval_ms);
  }

  async function idle(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: ending.signal }).catch(() => undefined);
  }

  async function run(): Promise<void> {
    while (!ending.signal.aborted) {
      if (listeners.size === 0) {
        readToMs = null;
        more = null;
        // Later input is not read.
        forget();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      try {
        await round();
      } catch (error) {
        if (ending.signal.aborted) return;
        for (const tell of waitingToBegin) tell(refusalOf(error));
        waitingToBegin.clear();
        const heldBack = complaints.pass();
        if (heldBack !== null)
          logger.warn({ err: error, held_back: heldBack }, 'stream poll failed');
        await idle(ERROR_WAIT_MS);
      }
    }
  }

  /** Resolves when the polls have a beginning, so that nothing stored from then on is missed. */
  async function begun(): Promise<void> {
    if (readToMs !== null) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        waitingToBegin.delete(tell);
        reject(refusalOf('no answer in time'));
      }, BEGIN_MAX_MS);
      const tell = (refusal?: ProblemError) => {
        clearTimeout(timer);
        if (refusal === undefined) resolve();
        else reject(refusal);
      };
      waitingToBegin.add(tell);
    });
  }

  /** The events stored since a position: from memory, or else from the database. */
  async function missedSince(since: Position): Promise<readonly LiveEvent[] | 'too old'> {
    const [oldest] = replay;
    const n = since.within?.hub === name ? since.within.n : null;
    if (n !== null && oldest !== undefined && n >= oldest.n - 1) {
      return replay.filter((event) => event.n > n);
    }
    const nowMs = await databaseNow();
    if (nowMs - since.storedMs > RESUME_MAX_MS) return 'too old';
    const missed: LiveEvent[] = [];
    for await (const rows of pagesSince(since.storedMs - OVERLAP_MS)) {
      missed.push(...rows.map((row) => liveEventOf(row, null)));
      if (missed.length > REPLAY_MAX) return 'too old';
    }
    return missed;
  }

  return {
    name,
    start() {
      polling ??= run();
    },
    async stop() {
      ending.abort();
      wake();
      await polling;
      listeners.clear();
    },
    async join(listener, since) {
      // The first client is in the list before the polls begin, so nothing is lost in between:
      // events that come while the past is looked up wait behind it.
      const waiting: LiveEvent[] = [];
      let isCaughtUp = since === null;
      const member: Listener = {
        events(events) {
          if (isCaughtUp) listener.events(events);
          else waiting.push(...events);
        },
        gap(fromMs, toMs) {
          listener.gap(fromMs, toMs);
        },
      };
      listeners.add(member);
      metrics.clients.set(listeners.size);
      wake();
      const leave = () => {
        listeners.delete(member);
        metrics.clients.set(listeners.size);
      };
      try {
        await begun();
        if (since === null) return leave;
        const missed = await missedSince(since);
        if (missed === 'too old') listener.gap(since.storedMs, await databaseNow());
        else listener.events(missed);
        const known = new Set(missed === 'too old' ? [] : missed.map(keyOf));
        listener.events(waiting.filter((event) => !known.has(keyOf(event))));
        isCaughtUp = true;
      } catch (error) {
        leave();
        throw error;
      }
      return leave;
    },
  };
}

function refusalOf(cause: unknown): ProblemError {
  const retryAfterSeconds = ERROR_WAIT_MS / 1_000;
  return new ProblemError('store-unavailable', 'try again shortly', { retryAfterSeconds, cause });
}

function keyOf(event: LiveEvent): string {
  return `${event.session.session_id}/${event.session.seq}`;
}

/** The content of a frame `gap`. */
export function gapOf(fromMs: number, toMs: number) {
  return { from: toTimestamp(fromMs), to: toTimestamp(toMs) };
}
