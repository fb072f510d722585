/**
 * Waiting partitions, while the others continue: the offset and the reason of each. `/readyz`, metrics,
 * the log and the table `ingest_waits` show it. An operator's decision comes from `ingest_skips`.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@sockscope/runtime';
import type { Component, Logger } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { z } from 'zod';
import type { WaitsMetrics } from './metrics.js';
import { readSkips, skipsOf } from './skips.js';
import type { Skips } from './skips.js';

/**
 * A closed set: it is a metric label.
 * - `damaged`: a record batch that cannot be read.
 * - `too_large`: a batch that would need more memory than KAFKA_BATCH_MAX_BYTES.
 * - `unknown_version`: an event of a version of the contract that this ingest does not know.
 * - `poison_flood`: more dead letters than their budget; it continues by itself.
 * - `dead_letters`: the dead-letter topic does not take a record.
 */
export const WAIT_KINDS = [
  'damaged',
  'too_large',
  'unknown_version',
  'poison_flood',
  'dead_letters',
] as const;
export type WaitKind = (typeof WAIT_KINDS)[number];

export interface Wait {
  readonly partition: number;
  readonly offset: number;
  readonly kind: WaitKind;
  readonly reason: string;
  /** The schema_version that is needed; 0 for other reasons. */
  readonly neededVersion: number;
  /** Time of the record, milliseconds since 1970: Kafka deletes it when it is older than the topic's retention. */
  readonly timestampMs: number;
}

export interface Waits extends Component, Skips {
  set(wait: Wait): void;
  /** The partition continues. */
  clear(partition: number): void;
  /** Forgets all others: another process reads them. */
  retain(partitions: readonly number[]): void;
  list(): readonly Wait[];
  /** How long the topic keeps its records, milliseconds; null: permanently, or unknown. */
  setRetention(retentionMs: number | null): void;
  /** A sentence for an operator, or null if nothing waits. */
  trouble(): string | null;
}

/** Times between two reads of decisions, while a partition waits and while none does. */
const SYNC_WAITING_MS = 1_000;
const SYNC_IDLE_MS = 15_000;
/** The furthest from 1970 that a date can be. */
const DATE_MAX_MS = 8.64e15;
/** Waits named in one sentence. */
const NAMED_MAX = 5;

interface Waiting {
  readonly wait: Wait;
  readonly sinceMs: number;
  /** Whether the table has it. */
  isWritten: boolean;
}

export function createWaits(
  config: { readonly topic: string },
  deps: {
    readonly clickhouse: ClickHouse;
    readonly logger: Logger;
    readonly metrics: WaitsMetrics;
  },
): Waits {
  const { clickhouse, logger, metrics } = deps;
  const { topic } = config;
  const waiting = new Map<number, Waiting>();
  /** Partitions of this process that were read since they were assigned. */
  const goesOn = new Set<number>();
  let owned: readonly number[] = [];
  let retentionMs: number | null = null;
  let skips = skipsOf([]);
  const ending = new AbortController();
  const { signal } = ending;
  let wake = new AbortController();
  let running: Promise<void> | null = null;

  function changed(): void {
    metrics.show([...waiting.values()].map(({ wait }) => wait));
    wake.abort();
  }

  async function sync(): Promise<void> {
    skips = skipsOf(await readSkips(clickhouse, topic, signal));
    const shown = await clickhouse.query({
      sql: 'SELECT partition FROM ingest_waits FINAL WHERE topic = {topic:String} AND is_waiting = 1',
      params: { topic },
      row: z.object({ partition: z.int() }),
      signal,
    });
    // The row of its former owner stands for a partition that this process has not read yet.
    const rows = shown
      .filter(({ partition }) => goesOn.has(partition))
      .map(({ partition }) => [topic, partition, 0, 0, '', '', 0, toTimestamp(0)]);
    const unwritten = [...waiting.values()].filter((each) => !each.isWritten);
    for (const { wait, sinceMs } of unwritten) {
      const { partition, offset, kind, reason, neededVersion } = wait;
      const since = toTimestamp(sinceMs);
      rows.push([topic, partition, 1, offset, kind, reason, neededVersion, since]);
    }
    if (rows.length === 0) return;
    await clickhouse.insert({
      table: 'ingest_waits',
      columns: COLUMNS,
      format: 'JSONCompactEachRow',
      bytes: [Buffer.from(rows.map((row) => JSON.stringify(row)).join('\n'))],
      settings: { date_time_input_format: 'best_effort' },
      signal,
    });
    for (const each of unwritten) each.isWritten = true;
  }

  async function loop(): Promise<void> {
    let trouble = '';
    while (!signal.aborted) {
      wake = new AbortController();
      try {
        await sync();
        trouble = '';
      } catch (error) {
        if (signal.aborted) return;
        const text = messageOf(error);
        if (text !== trouble) logger.warn({ err: error }, 'cannot read the decisions of skip');
        trouble = text;
      }
      // Not sooner than that, even if something changes often.
      await delay(SYNC_WAITING_MS, undefined, { signal }).catch(() => undefined);
      if (waiting.size > 0 || wake.signal.aborted) continue;
      await delay(SYNC_IDLE_MS, undefined, {
        signal: AbortSignal.any([signal, wake.signal]),
      }).catch(() => undefined);
    }
  }

  return {
    start() {
      running ??= loop();
    },
    async stop() {
      ending.abort();
      await running;
    },
    has: (partition, offset) => skips.has(partition, offset),
    set(wait) {
      const known = waiting.get(wait.partition);
      const isSame = known?.wait.offset === wait.offset && known.wait.kind === wait.kind;
      if (isSame && known.wait.reason === wait.reason) return;
      if (!isSame) logger.error(wait, `a partition waits: ${sentenceOf(wait)}`);
      const sinceMs = isSame ? known.sinceMs : Date.now();
      waiting.set(wait.partition, { wait, sinceMs, isWritten: false });
      goesOn.delete(wait.partition);
      changed();
    },
    clear(partition) {
      const known = waiting.get(partition);
      if (known === undefined && goesOn.has(partition)) return;
      goesOn.add(partition);
      if (known === undefined) return;
      waiting.delete(partition);
      logger.info(known.wait, 'a partition continues');
      changed();
    },
    retain(partitions) {
      for (const partition of owned) {
        if (partitions.includes(partition)) continue;
        waiting.delete(partition);
        goesOn.delete(partition);
      }
      owned = partitions;
      changed();
    },
    list: () => [...waiting.values()].map(({ wait }) => wait),
    setRetention(ms) {
      retentionMs = ms;
    },
    trouble() {
      const all = [...waiting.values()].map(
        ({ wait }) => `${sentenceOf(wait)}${deadlineOf(wait, retentionMs)}`,
      );
      if (all.length === 0) return null;
      const more = all.length > NAMED_MAX ? `; and ${all.length - NAMED_MAX} more` : '';
      return `${all.slice(0, NAMED_MAX).join('; ')}${more}`;
    },
  };
}

const COLUMNS = [
  'topic',
  'partition',
  'is_waiting',
  'offset',
  'kind',
  'reason',
  'needed_version',
  'since',
] as const;

/** The deadline for the operator: retention may delete in whole segments, so later, never sooner. */
function deadlineOf({ timestampMs }: Wait, retentionMs: number | null): string {
  if (retentionMs === null || timestampMs <= 0) return '';
  const deleted = timestampMs + retentionMs;
  if (deleted > DATE_MAX_MS) return '';
  return `; Kafka may delete it from ${new Date(deleted).toISOString()} on`;
}

function sentenceOf({ partition, offset, reason }: Wait): string {
  return `partition ${partition} waits at offset ${offset}: ${reason}`;
}
