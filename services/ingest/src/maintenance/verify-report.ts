/** The options of `verify`, its findings, and the types that its parts share. */
import type { Logger } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import type { RetentionConfig } from '../migrations/config.js';
import type { Stop } from './read-events.js';

export interface PartitionReport {
  readonly partition: number;
  readonly records: number;
  /** Records that are no valid event. */
  readonly poison: number;
  /** Different (session_id, seq). */
  readonly events: number;
  /** Number of these events that are not in `session_events`. */
  readonly missing: number;
}

export interface TableReport {
  readonly table: string;
  /** Rows that must exist by the topic, without expired ones. */
  readonly expected: number;
  readonly missing: number;
  /** Rows that hold less, more or something else, and minutes that no event has. */
  readonly different: number;
  /**
   * Rows of sessions that the tables know more recent events of than the topic had when it was read, and
   * rows that ingest itself wrote.
   */
  readonly newer: number;
  /** Ids of sessions that differ, at most ten. */
  readonly examples: readonly string[];
}

export interface Verification {
  /** True if all rows that could be compared are equal. */
  readonly isEqual: boolean;
  /** Waiting partitions: their later records were not compared. */
  readonly stops: readonly Stop[];
  readonly partitions: readonly PartitionReport[];
  readonly tables: readonly TableReport[];
  /** Rows of rollups that differ from the tables, over the hours that are not marked as changed. */
  readonly rollupRows: number;
  /** Hours marked as changed and not recomputed yet, or that changed meanwhile. Their sums were not compared. */
  readonly dirtyHours: number;
}

export interface VerifyConfig {
  readonly kafka: KafkaConfig;
  readonly retention: RetentionConfig;
  /** Deadline of one statement, milliseconds. */
  readonly timeoutMs: number;
  /** Between two looks at the same difference, milliseconds: time for a batch to become whole. */
  readonly recheckMs: number;
  /** All sessions if not given. */
  readonly range?: VerifyRange;
  /** Ends it; its table is dropped all the same. */
  readonly signal?: AbortSignal;
}

/** Sessions that began in [fromMs, toMs), milliseconds since 1970. */
export interface VerifyRange {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface VerifyDeps {
  readonly clickhouse: ClickHouse;
  readonly logger: Logger;
  readonly onProgress: (done: number, total: number, what: string) => void;
}

export function isWhole({ missing }: PartitionReport): boolean {
  return missing === 0;
}

export function isSame({ missing, different }: TableReport): boolean {
  return missing === 0 && different === 0;
}

/** Rows that have not expired yet, with a day's grace for parts that have not been dropped. */
export function kept(retentionMs: number): string {
  if (retentionMs === 0) return '1';
  const days = Math.max(0, Math.ceil(retentionMs / 86_400_000) - 1);
  return `started_at >= now() - INTERVAL ${days} DAY`;
}

/** A difference counts when it is found this many times in a row. */
export const LOOKS = 3;

/** The inputs of every comparison. */
export interface Comparing {
  readonly clickhouse: ClickHouse;
  readonly config: VerifyConfig;
  /** The table that holds the topic's events. */
  readonly topic: string;
  /** How each statement is run. */
  readonly call: {
    readonly timeoutMs: number;
    readonly settings: Readonly<Record<string, string | number>>;
    readonly signal: AbortSignal | undefined;
  };
}
