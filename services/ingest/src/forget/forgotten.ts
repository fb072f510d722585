/**
 * Keeps forgotten sessions from coming back: ingest, `verify` and `rebuild` pass over their events.
 *
 * Guarantee: a process that has begun to read the topic knows every decision that was stored before; of
 * later ones it learns within FORGOTTEN_REFRESH_MS while ClickHouse answers.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@sockscope/runtime';
import type { Component, Logger } from '@sockscope/runtime';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { parseIpv6Words } from '@sockscope/schemas/net';
import { z } from 'zod';
import type { EventView } from '../decode/event-view.generated.js';

export const FORGOTTEN_REFRESH_MS = 5_000;
/** Decisions that are kept at once; `forget` refuses more. They expire with the topic's events. */
export const FORGOTTEN_MAX = 10_000;

/** A user, or a source address in its canonical form. */
export interface Person {
  readonly kind: 'user' | 'source_ip';
  readonly value: string;
}

export interface Decision extends Person {
  /** Sessions that started before are forgotten; milliseconds since 1970. */
  readonly throughMs: number;
}

/** The fields of an event that decide. */
export type Subject = Pick<
  EventView,
  | 'text'
  | 'userStart'
  | 'userLength'
  | 'startedAtMs'
  | 'sourceIp0'
  | 'sourceIp1'
  | 'sourceIp2'
  | 'sourceIp3'
>;

export type IsForgotten = (event: Subject) => boolean;

/** The decisions as a test of events. Costs nothing while there are none. */
export function forgottenBy(decisions: readonly Decision[]): IsForgotten {
  const users = new Map<string, number>();
  const sources = new Map<string, number>();
  for (const { kind, value, throughMs } of decisions) {
    // The bytes of the name as text of one byte each: nothing is decoded per event.
    if (kind === 'user') users.set(Buffer.from(value, 'utf8').toString('latin1'), throughMs);
    else sources.set((parseIpv6Words(value) ?? []).join(), throughMs);
  }
  return (event) => {
    if (users.size > 0) {
      const { text, userStart, userLength } = event;
      const bytes = Buffer.from(text.buffer, text.byteOffset + userStart, userLength);
      const throughMs = users.get(bytes.toString('latin1'));
      if (throughMs !== undefined && event.startedAtMs < throughMs) return true;
    }
    if (sources.size === 0) return false;
    const { sourceIp0, sourceIp1, sourceIp2, sourceIp3 } = event;
    const throughMs = sources.get([sourceIp0, sourceIp1, sourceIp2, sourceIp3].join());
    return throughMs !== undefined && event.startedAtMs < throughMs;
  };
}

export async function readDecisions(
  clickhouse: Pick<ClickHouse, 'query'>,
  signal?: AbortSignal,
): Promise<Decision[]> {
  const rows = await clickhouse.query({
    sql: `SELECT toString(kind) AS kind, value, toUnixTimestamp64Milli(through) AS through_ms
      FROM ingest_forgotten FINAL LIMIT {limit:UInt32}`,
    params: { limit: FORGOTTEN_MAX },
    row: z.object({ kind: z.enum(['user', 'source_ip']), value: z.string(), through_ms: int64 }),
    signal,
  });
  return rows.map(({ kind, value, through_ms }) => ({ kind, value, throughMs: through_ms }));
}

export interface Forgotten extends Component {
  /** Reads the decisions. To be called before the first event. */
  load(signal: AbortSignal): Promise<void>;
  readonly has: IsForgotten;
}

/** The decisions, as ClickHouse has them, read again every FORGOTTEN_REFRESH_MS. */
export function createForgotten(deps: {
  readonly clickhouse: Pick<ClickHouse, 'query'>;
  readonly logger: Logger;
}): Forgotten {
  const ending = new AbortController();
  let isForgotten: IsForgotten = () => false;
  let running: Promise<void> | null = null;

  async function load(signal: AbortSignal): Promise<void> {
    isForgotten = forgottenBy(await readDecisions(deps.clickhouse, signal));
  }

  async function loop(): Promise<void> {
    const { signal } = ending;
    while (!signal.aborted) {
      await delay(FORGOTTEN_REFRESH_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      await load(signal).catch((error: unknown) => {
        if (signal.aborted) return;
        deps.logger.warn({ err: error }, `forgotten persons not read: ${messageOf(error)}`);
      });
    }
  }

  return {
    load,
    has: (event) => isForgotten(event),
    start() {
      running ??= loop();
    },
    async stop() {
      ending.abort();
      await running;
    },
  };
}
