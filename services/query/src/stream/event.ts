import type { StreamSession } from '@sockscope/schemas/api';
import type { Stored } from '../sql/stored.js';
import type { StoredEvent } from '../sql/stream.js';

/** A session with its names as they are stored. */
export type StoredStreamSession = Omit<StreamSession, 'user' | 'source_ip'> & {
  readonly user: Stored;
  readonly source_ip: Stored;
};

/** One event of the live stream, before any client's filter. */
export interface LiveEvent {
  readonly type: 'started' | 'changed' | 'closed';
  /** Position in this process's stream; null for an event that was looked up in the database. */
  readonly n: number | null;
  /** When the database took it. */
  readonly storedMs: number;
  readonly session: StoredStreamSession;
}

const TYPES = {
  SessionStarted: 'started',
  TrafficDelta: 'changed',
  SessionClosed: 'closed',
} as const;

export function liveEventOf(row: StoredEvent, n: number | null): LiveEvent {
  const { type, occurred_at, ingested_at, status, ...rest } = row;
  return {
    type: TYPES[type],
    n,
    storedMs: Date.parse(ingested_at),
    session: { ...rest, status: status ?? 'active', updated_at: occurred_at },
  };
}

/** The position at which a client's stream ended. */
export interface Position {
  readonly storedMs: number;
  /** The process that gave the position, and the number of the event there; null if only the time is known. */
  readonly within: { readonly hub: string; readonly n: number } | null;
}

const POSITION = /^(\d{1,15})(?:-([0-9a-f]{8})-(\d{1,15}))?$/;

/** `id` of an event. Any process can continue from it: the time is the database's. */
export function positionText(event: LiveEvent, hub: string): string {
  return event.n === null ? `${event.storedMs}` : `${event.storedMs}-${hub}-${event.n}`;
}

/** Null if the text is not a position: `Last-Event-ID` comes from the client. */
export function positionOf(text: string): Position | null {
  const match = POSITION.exec(text);
  if (match === null) return null;
  const [, stored, hub, n] = match;
  return {
    storedMs: Number(stored),
    within: hub === undefined ? null : { hub, n: Number(n) },
  };
}

/** One frame of text/event-stream. JSON has no line breaks, so one line of data suffices. */
export function frame(event: string, data: unknown, id?: string): string {
  const idLine = id === undefined ? '' : `id: ${id}\n`;
  return `event: ${event}\n${idLine}data: ${JSON.stringify(data)}\n\n`;
}
