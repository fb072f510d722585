import type { LiveSort } from '@sockscope/schemas/api';
import type { Predicate } from '../filters/predicate.js';
import type { ActiveRow } from '../sql/active.js';
import type { SessionRecord } from '../sql/fields.js';
import { perSecond, rateWindowMs } from '../sums/rates.js';
import { LIVE_SESSIONS_MAX, UNHEARD_MAX_MS } from './config.js';
import type { LiveEvent } from './event.js';

/** A session that is open, with the rate of its last interval. */
export interface LiveSession {
  readonly row: SessionRecord;
  readonly startedMs: number;
  /** Its latest event, by the proxy's clock. */
  readonly heardMs: number;
  /** Milliseconds between the last two events; 0 if there was only one. */
  readonly intervalMs: number;
  /** Bytes per second over that interval; before it, of recent minutes. */
  readonly sentRate: number;
  readonly receivedRate: number;
  /** Whether its rate is that since its start, because no earlier report is known. */
  readonly isSinceStart: boolean;
}

export interface RankedSession {
  readonly session: LiveSession;
  readonly sentRate: number;
  readonly receivedRate: number;
}

/** The top of all that pass, and the sums over all of them. */
export interface Ranked {
  readonly items: readonly RankedSession[];
  readonly total: number;
  readonly sentRate: number;
  readonly receivedRate: number;
}

/** A rate over less than this would be noise. */
const INTERVAL_MIN_MS = 500;
/** Factor of a session's last interval, for proxies that send deltas at another pace than every 5 s. */
const SILENT_INTERVALS = 2;
const SILENT_MIN_MS = 10_000;
/** Candidates are cut to the best ones when there are this many times more than are needed. */
const CANDIDATES_FACTOR = 4;

/** The sessions that are open according to events. */
export class LiveSessions {
  readonly #open = new Map<string, LiveSession>();
  /** Ends that arrived while the open sessions were being read. */
  readonly #ended = new Set<string>();
  /** Sessions that reported meanwhile; null while nothing is read. */
  #heard: Set<string> | null = null;
  #isTruncated = false;

  get size(): number {
    return this.#open.size;
  }

  /** Whether more were open than are kept. */
  get isTruncated(): boolean {
    return this.#isTruncated;
  }

  clear(): void {
    this.#open.clear();
    this.#ended.clear();
    this.#heard = null;
    this.#isTruncated = false;
  }

  /** Begins to keep events in mind: these are newer than the rows of `load`. */
  beginLoad(): void {
    this.#ended.clear();
    this.#heard = new Set();
  }

  /**
   * Takes over the sessions that are open by the tables, and forgets those that are not. Until a session reports
   * again, its rate comes from its traffic since `sinceMs`.
   */
  load(
    rows: readonly ActiveRow[],
    { sinceMs, nowMs }: { readonly sinceMs: number; readonly nowMs: number },
  ): void {
    const open = new Set(rows.map((row) => row.session_id));
    for (const id of this.#open.keys()) {
      if (!open.has(id) && this.#heard?.has(id) !== true) this.#open.delete(id);
    }
    this.#isTruncated = false;
    for (const { recent_sent, recent_received, ...row } of rows) {
      const known = this.#open.get(row.session_id);
      if (this.#ended.has(row.session_id)) continue;
      const startedMs = Date.parse(row.started_at);
      const windowMs = rateWindowMs(startedMs, sinceMs, nowMs);
      const stored = {
        row,
        startedMs,
        heardMs: Date.parse(row.updated_at),
        intervalMs: 0,
        sentRate: perSecond(recent_sent, windowMs),
        receivedRate: perSecond(recent_received, windowMs),
        isSinceStart: false,
      };
      if (known === undefined || known.heardMs < stored.heardMs) {
        this.#put(row.session_id, stored);
      } else if (known.isSinceStart && known.heardMs > stored.heardMs) {
        this.#put(row.session_id, reported(known.row, stored));
      }
    }
    this.#ended.clear();
    this.#heard = null;
  }

  apply({ type, session }: LiveEvent): void {
    const id = session.session_id;
    if (type === 'closed') {
      this.#open.delete(id);
      if (this.#ended.size < LIVE_SESSIONS_MAX) this.#ended.add(id);
      return;
    }
    if (this.#ended.has(id)) return;
    if (this.#heard !== null && this.#heard.size < LIVE_SESSIONS_MAX) this.#heard.add(id);
    const { seq: _seq, ...row } = session;
    const known = this.#open.get(id);
    // An event that comes again, or late, changes nothing.
    if (known !== undefined && Date.parse(row.updated_at) <= known.heardMs) return;
    this.#put(id, reported(row, known));
  }

  /** Forgets sessions without events for minutes: an open session sends one every 30 s. */
  expire(nowMs: number): void {
    for (const [id, { heardMs }] of this.#open) {
      if (nowMs - heardMs > UNHEARD_MAX_MS) this.#open.delete(id);
    }
  }

  /** Reads all once, and keeps no more candidates than a few times the limit. */
  ranked(
    view: { readonly matches: Predicate; readonly sort: LiveSort; readonly limit: number },
    nowMs: number,
  ): Ranked {
    const { matches, sort, limit } = view;
    let best: (RankedSession & { readonly key: number })[] = [];
    let least = -Infinity;
    let [total, allSent, allReceived] = [0, 0, 0];
    const cut = () => {
      best.sort(
        (a, b) =>
          b.key - a.key ||
          b.session.startedMs - a.session.startedMs ||
          (a.session.row.session_id < b.session.row.session_id ? 1 : -1),
      );
      best = best.slice(0, limit);
      if (best.length === limit) least = best.at(-1)?.key ?? least;
    };
    for (const session of this.#open.values()) {
      if (!matches(session.row)) continue;
      const isSilent =
        nowMs - session.heardMs > Math.max(SILENT_MIN_MS, SILENT_INTERVALS * session.intervalMs);
      const sentRate = isSilent ? 0 : session.sentRate;
      const receivedRate = isSilent ? 0 : session.receivedRate;
      total += 1;
      allSent += sentRate;
      allReceived += receivedRate;
      const key = keyOf(session, sort, sentRate + receivedRate);
      if (key < least) continue;
      best.push({ session, sentRate, receivedRate, key });
      if (best.length >= CANDIDATES_FACTOR * limit) cut();
    }
    cut();
    return { items: best, total, sentRate: allSent, receivedRate: allReceived };
  }

  #put(id: string, session: LiveSession): void {
    if (this.#open.size >= LIVE_SESSIONS_MAX && !this.#open.has(id)) {
      this.#isTruncated = true;
      return;
    }
    this.#open.set(id, session);
  }
}

/** A session after a report. Its rate is that since the report before, or since its start. */
function reported(row: SessionRecord, before: LiveSession | undefined): LiveSession {
  const startedMs = Date.parse(row.started_at);
  const heardMs = Date.parse(row.updated_at);
  const intervalMs = Math.max(INTERVAL_MIN_MS, heardMs - (before?.heardMs ?? startedMs));
  const rate = (name: 'bytes_sent' | 'bytes_received') =>
    (Math.max(0, row[name] - (before?.row[name] ?? 0)) * 1_000) / intervalMs;
  return {
    row,
    startedMs,
    heardMs,
    intervalMs,
    sentRate: rate('bytes_sent'),
    receivedRate: rate('bytes_received'),
    isSinceStart: before === undefined,
  };
}

function keyOf({ row, startedMs }: LiveSession, sort: LiveSort, rate: number): number {
  switch (sort) {
    case 'rate':
      return rate;
    case 'bytes':
      return row.bytes_sent + row.bytes_received;
    case 'started_at':
      return startedMs;
    case 'duration_ms':
      return -startedMs;
  }
}
