/**
 * The fold over one batch: the newest row of each session, the largest counters of each session and
 * minute, and every event. Because each part is a maximum, folding here and then again in the tables
 * gives the same as folding there alone, with far fewer rows to insert.
 *
 * Events stand in columns as they are sent, and the rows of sessions and minutes are gathered from
 * them. All of the books are typed arrays, used again for the next batch: a batch of 100,000 events
 * makes no objects for the garbage collector to walk.
 */
import { MINUTE_MS } from '@sockscope/schemas';
import { floorTo, LONG_SESSION_MS, SLICE_MS } from '@sockscope/schemas/sums';
import { TYPE_STARTED } from '../decode/event-types.js';
import type { EventView } from '../decode/event-view.generated.js';
import type { TableBlock } from '../tables/block.js';
import {
  COPIED_TO_ENDED,
  COPIED_TO_SESSIONS,
  COPIED_TO_TRAFFIC,
  endColumns,
  endedColumns,
  SESSION_NAMES,
  sessionColumns,
  trafficColumns,
} from '../tables/columns.js';
import { eventFields, forbiddenChange, hashHeader, setEvent } from '../tables/columns.generated.js';
import type { ComparedField } from '../tables/columns.generated.js';
import type { Column } from '../tables/native/column.js';
import { nativeBlock } from '../tables/native/block.js';
import { NativeTable } from '../tables/native/table.js';
import { ColumnSet, HashIndex } from './hash-index.js';
import { isAssumed, rankOf, seqOf } from './rank.js';
import { uuidText } from './uuid-text.js';

/** The sessions of a batch, column by column: row i of each array is one session. */
export interface BatchSessions {
  readonly length: number;
  /** The id as four big-endian words. */
  readonly id0: Uint32Array;
  readonly id1: Uint32Array;
  readonly id2: Uint32Array;
  readonly id3: Uint32Array;
  /** Milliseconds since 1970. */
  readonly startedMs: Float64Array;
  /** `ended_at` if the newest event is a SessionClosed, else -1. */
  readonly endedMs: Float64Array;
  /** `version` of the row of its newest event. */
  readonly rank: Uint32Array;
  /** The lowest `seq` among its events. */
  readonly firstSeq: Uint32Array;
  /** The partition that its first event came from. */
  readonly partition: Uint32Array;
  sessionId(i: number): string;
  /** Hash of the header in the newest event. */
  hashHeader(i: number): ReturnType<typeof hashHeader>;
}

/** Folds that are not in use, so that a steady load allocates nothing. */
export interface FoldPool {
  take(): BatchFold;
}

/** @param keep number of folds that are kept for later; the garbage collector takes the rest. */
export function createFoldPool(keep: number): FoldPool {
  const idle: BatchFold[] = [];
  const giveBack = (fold: BatchFold) => {
    if (idle.length < keep) idle.push(fold);
  };
  return { take: () => idle.pop() ?? new BatchFold(giveBack) };
}

export class BatchFold {
  readonly #events = new NativeTable(eventFields());
  readonly #sessionRows = new NativeTable(sessionColumns());
  readonly #longRows = new NativeTable(sessionColumns());
  readonly #trafficRows = new NativeTable(trafficColumns());
  readonly #endRows = new NativeTable(endColumns());
  readonly #endedRows = new NativeTable(endedColumns());
  readonly #sessions = new ColumnSet({
    id0: Uint32Array,
    id1: Uint32Array,
    id2: Uint32Array,
    id3: Uint32Array,
    /** Rank of the newest event: see `rankOf`. */
    rank: Uint32Array,
    firstSeq: Uint32Array,
    partition: Uint32Array,
    startedMs: Float64Array,
    endedMs: Float64Array,
    /** Time of the newest event. */
    updatedMs: Float64Array,
    /** The newest event + 1; 0 for none. */
    newest: Uint32Array,
  });
  readonly #minutes = new ColumnSet({
    session: Uint32Array,
    minute: Uint32Array,
    /** Any event of the session. */
    event: Uint32Array,
    bytesSent: Float64Array,
    bytesReceived: Float64Array,
    packetsSent: Float64Array,
    packetsReceived: Float64Array,
  });
  readonly #sessionIndex = new HashIndex();
  readonly #minuteIndex = new HashIndex();
  readonly #sliceSet = new Set<number>();
  #lastSlice = -1;
  readonly #headerChanges = new Map<ComparedField, number>();

  readonly #giveBack: (fold: BatchFold) => void;

  constructor(giveBack: (fold: BatchFold) => void = () => undefined) {
    this.#giveBack = giveBack;
  }

  /** Bytes that the events take as rows, about. */
  get bytes(): number {
    return this.#events.bytes;
  }

  /** Number of events, repeated ones included. */
  get count(): number {
    return this.#events.rows;
  }

  /** Starts of the ten-minute slices in which a session ended or something moved, milliseconds since 1970. */
  get slices(): ReadonlySet<number> {
    return this.#sliceSet;
  }

  /** How many events changed a field that must not change within a session, by field. */
  get headerChanges(): ReadonlyMap<ComparedField, number> {
    return this.#headerChanges;
  }

  /** @param partition that the event came from. */
  add(event: EventView, partition: number): void {
    const row = this.#events.add();
    setEvent(this.#events.columns, row, event);
    const session = this.#sessionOf(event, partition);
    const s = this.#sessions.columns;
    this.#compareHeader(s.newest[session] as number, seqOf(s.rank[session] as number), event);
    if (event.seq < (s.firstSeq[session] as number)) s.firstSeq[session] = event.seq;
    const rank = rankOf(event);
    const former = s.rank[session] as number;
    if (s.newest[session] !== 0 && rank !== former) {
      this.#addDoubt(session, rank > former ? (s.endedMs[session] as number) : event.endedAtMs);
    }
    if (rank > former || s.newest[session] === 0) {
      s.rank[session] = rank;
      s.endedMs[session] = event.endedAtMs;
      s.updatedMs[session] = event.occurredAtMs;
      s.newest[session] = row + 1;
    }
    if (event.endedAtMs >= 0) this.#touchSlice(event.endedAtMs);
    this.#addMinute(session, event, row);
  }

  /** The rows of all tables. The memory behind them is this fold's until `release`. */
  encode(): TableBlock[] {
    this.#gatherSessions();
    this.#gatherLong();
    this.#gatherMinutes();
    this.#gatherEnds();
    return [
      nativeBlock('sessions', this.#sessionRows),
      nativeBlock('sessions_by_user', this.#sessionRows),
      nativeBlock('sessions_by_destination', this.#sessionRows),
      nativeBlock('long_sessions', this.#longRows),
      nativeBlock('session_ends', this.#endRows),
      nativeBlock('ended_sessions', this.#endedRows),
      nativeBlock('session_traffic_1m', this.#trafficRows),
      nativeBlock('session_events', this.#events),
    ].filter(({ rows }) => rows > 0);
  }

  /** Forgets everything and returns to its pool when the rows are stored. */
  release(): void {
    for (const table of [
      this.#events,
      this.#sessionRows,
      this.#longRows,
      this.#trafficRows,
      this.#endRows,
      this.#endedRows,
    ]) {
      table.clear();
    }
    this.#sessions.clear();
    this.#minutes.clear();
    this.#sessionIndex.clear();
    this.#minuteIndex.clear();
    this.#sliceSet.clear();
    this.#headerChanges.clear();
    this.#lastSlice = -1;
    this.#giveBack(this);
  }

  sessionsOf(): BatchSessions {
    const s = this.#sessions.columns;
    return {
      length: this.#sessions.length,
      id0: s.id0,
      id1: s.id1,
      id2: s.id2,
      id3: s.id3,
      startedMs: s.startedMs,
      endedMs: s.endedMs,
      rank: s.rank,
      firstSeq: s.firstSeq,
      partition: s.partition,
      sessionId: (i) =>
        uuidText(s.id0[i] as number, s.id1[i] as number, s.id2[i] as number, s.id3[i] as number),
      hashHeader: (i) => hashHeader(this.#events.columns, (s.newest[i] as number) - 1),
    };
  }

  /** @param newest the newest event of the session + 1; 0 for none. */
  #compareHeader(newest: number, seq: number, event: EventView): void {
    if (newest === 0) return;
    const changed = forbiddenChange(this.#events.columns, newest - 1, event, event.seq > seq);
    if (changed === null) return;
    this.#headerChanges.set(changed, (this.#headerChanges.get(changed) ?? 0) + 1);
  }

  #sessionOf(event: EventView, partition: number): number {
    const s = this.#sessions.columns;
    const index = this.#sessionIndex;
    // The last words of a UUIDv7 are random.
    let slot = index.begin(event.sessionId3 ^ event.sessionId2);
    for (let found = index.at(slot); found >= 0; found = index.at((slot = index.after(slot)))) {
      if (
        s.id3[found] === event.sessionId3 &&
        s.id2[found] === event.sessionId2 &&
        s.id1[found] === event.sessionId1 &&
        s.id0[found] === event.sessionId0
      ) {
        return found;
      }
    }
    const added = this.#sessions.add();
    const columns = this.#sessions.columns;
    columns.id0[added] = event.sessionId0;
    columns.id1[added] = event.sessionId1;
    columns.id2[added] = event.sessionId2;
    columns.id3[added] = event.sessionId3;
    columns.startedMs[added] = event.startedAtMs;
    columns.firstSeq[added] = event.seq;
    columns.partition[added] = partition;
    index.set(slot, added, (i) => (columns.id3[i] as number) ^ (columns.id2[i] as number));
    return added;
  }

  #addMinute(session: number, event: EventView, row: number): void {
    const { minuteBytesSent, minuteBytesReceived, minutePacketsSent, minutePacketsReceived } =
      event;
    if (
      event.type === TYPE_STARTED ||
      (minuteBytesSent === 0 &&
        minuteBytesReceived === 0 &&
        minutePacketsSent === 0 &&
        minutePacketsReceived === 0)
    ) {
      return;
    }
    this.#touchSlice(event.intervalStartMs);
    const minute = Math.floor(event.intervalStartMs / MINUTE_MS);
    const m = this.#minutes.columns;
    const index = this.#minuteIndex;
    let slot = index.begin(mix(session, minute));
    for (let found = index.at(slot); found >= 0; found = index.at((slot = index.after(slot)))) {
      if (m.session[found] === session && m.minute[found] === minute) {
        m.bytesSent[found] = Math.max(m.bytesSent[found] as number, minuteBytesSent);
        m.bytesReceived[found] = Math.max(m.bytesReceived[found] as number, minuteBytesReceived);
        m.packetsSent[found] = Math.max(m.packetsSent[found] as number, minutePacketsSent);
        m.packetsReceived[found] = Math.max(
          m.packetsReceived[found] as number,
          minutePacketsReceived,
        );
        return;
      }
    }
    const added = this.#minutes.add();
    const columns = this.#minutes.columns;
    columns.session[added] = session;
    columns.minute[added] = minute;
    columns.event[added] = row;
    columns.bytesSent[added] = minuteBytesSent;
    columns.bytesReceived[added] = minuteBytesReceived;
    columns.packetsSent[added] = minutePacketsSent;
    columns.packetsReceived[added] = minutePacketsReceived;
    index.set(slot, added, (i) => mix(columns.session[i] as number, columns.minute[i] as number));
  }

  #touchSlice(ms: number): void {
    const slice = ms - (ms % SLICE_MS);
    if (slice === this.#lastSlice) return;
    this.#lastSlice = slice;
    this.#sliceSet.add(slice);
  }

  #gatherSessions(): void {
    const { newest, rank } = this.#sessions.columns;
    const { length } = this.#sessions;
    const from = newest.slice(0, length).map((event) => event - 1);
    this.#sessionRows.replace(length);
    const rows = this.#sessionRows.columns;
    const events = this.#events.columns;
    gather(rows, events, COPIED_TO_SESSIONS, from);
    rows.updated_at.gather(events.occurred_at, from, length);
    for (let i = 0; i < length; i += 1) rows.version.set(i, rank[i] as number);
  }

  #gatherLong(): void {
    const { startedMs, updatedMs } = this.#sessions.columns;
    const long: number[] = [];
    for (let i = 0; i < this.#sessions.length; i += 1) {
      if ((updatedMs[i] as number) - (startedMs[i] as number) >= LONG_SESSION_MS) long.push(i);
    }
    this.#longRows.replace(long.length);
    const from = Uint32Array.from(long);
    gather(this.#longRows.columns, this.#sessionRows.columns, SESSION_NAMES, from);
  }

  /**
   * Sessions that ended in another slice of ten minutes than they began in. An end that another process assumed is
   * doubtful, because the proxy itself may still send events. So is one that a newer event replaces: an earlier
   * delivery may have stored it as certain, without that event.
   */
  #gatherEnds(): void {
    const s = this.#sessions.columns;
    const certain: number[] = [];
    for (let i = 0; i < this.#sessions.length; i += 1) {
      if (isAssumed(s.rank[i] as number)) this.#addDoubt(i, s.endedMs[i] as number);
      else if (this.#isElsewhere(i, s.endedMs[i] as number)) certain.push(i);
    }
    const rows = this.#endedRows;
    rows.replace(certain.length);
    const from = Uint32Array.from(certain);
    gather(rows.columns, this.#sessionRows.columns, COPIED_TO_ENDED, from);
    for (const [row, i] of certain.entries()) {
      rows.columns.ended_at.set(row, s.endedMs[i] as number);
    }
  }

  /** Whether an end, if it is one, lies in another slice than the start. */
  #isElsewhere(session: number, endedMs: number): boolean {
    const startedMs = this.#sessions.columns.startedMs[session] as number;
    return endedMs >= 0 && floorTo(endedMs, SLICE_MS) !== floorTo(startedMs, SLICE_MS);
  }

  #addDoubt(session: number, endedMs: number): void {
    if (!this.#isElsewhere(session, endedMs)) return;
    const s = this.#sessions.columns;
    const row = this.#endRows.add();
    const { ended_at, started_at, session_id } = this.#endRows.columns;
    ended_at.set(row, endedMs);
    started_at.set(row, s.startedMs[session] as number);
    session_id.set(
      row,
      s.id0[session] as number,
      s.id1[session] as number,
      s.id2[session] as number,
      s.id3[session] as number,
    );
  }

  #gatherMinutes(): void {
    const m = this.#minutes.columns;
    const { length } = this.#minutes;
    this.#trafficRows.replace(length);
    const rows = this.#trafficRows.columns;
    gather(rows, this.#events.columns, COPIED_TO_TRAFFIC, m.event.subarray(0, length));
    for (let i = 0; i < length; i += 1) {
      rows.bucket.set(i, (m.minute[i] as number) * (MINUTE_MS / 1_000));
      rows.bytes_sent.set(i, m.bytesSent[i] as number);
      rows.bytes_received.set(i, m.bytesReceived[i] as number);
      rows.packets_sent.set(i, m.packetsSent[i] as number);
      rows.packets_received.set(i, m.packetsReceived[i] as number);
    }
  }
}

/** Sets the rows of these columns to the events [from[0], from[1] …]. */
function gather<N extends string>(
  rows: Readonly<Record<N, Column>>,
  events: Readonly<Record<N, Column>>,
  names: readonly N[],
  from: Uint32Array,
): void {
  for (const name of names) rows[name].gather(events[name], from, from.length);
}

function mix(session: number, minute: number): number {
  return Math.imul(session, 0x9e3779b1) ^ Math.imul(minute, 0x85ebca6b);
}
