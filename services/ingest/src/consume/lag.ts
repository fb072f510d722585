/**
 * How far each partition of ours is behind, from the brokers: their end offsets and the group's
 * committed ones. So it is right while nothing is taken or written, too.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Gauge, messageOf } from '@sockscope/runtime';
import type { Component, Logger, Registry } from '@sockscope/runtime';
import type { KafkaAdmin } from '@sockscope/runtime/kafka';

export interface LagDeps {
  readonly admin: Pick<KafkaAdmin, 'describeTopic' | 'groupOffsets' | 'retentionMs'>;
  readonly registry: Registry;
  readonly logger: Logger;
  readonly assigned: () => readonly number[];
  /** Newest time of a partition's stored events, milliseconds since 1970; null if none is known. */
  readonly newestMs: (partition: number) => number | null;
  /** Receives the number of partitions of the topic. */
  readonly onPartitions: (count: number) => void;
  /** Receives the retention of the topic. */
  readonly onRetention: (retentionMs: number | null) => void;
}

const INTERVAL_MS = 5_000;

export function createLag(
  config: { readonly topic: string; readonly group_id: string; readonly interval_ms?: number },
  deps: LagDeps,
): Component {
  const registers = [deps.registry];
  const lag = new Gauge({
    name: 'sockscope_ingest_lag_records',
    help: 'Records between the committed offset and the end of a partition, from the brokers.',
    labelNames: ['partition'],
    registers,
  });
  const age = new Gauge({
    name: 'sockscope_ingest_oldest_unread_age_seconds',
    help: 'Age of the newest stored event of a partition with unread records, which are younger; 0 if everything is read.',
    labelNames: ['partition'],
    registers,
  });
  const ending = new AbortController();
  const { signal } = ending;
  let running: Promise<void> | null = null;

  async function look(): Promise<void> {
    const ends = (await deps.admin.describeTopic(config.topic)) ?? [];
    if (ends.length > 0) deps.onPartitions(ends.length);
    const committed = await deps.admin.groupOffsets(config.group_id, config.topic);
    const assigned = new Set(deps.assigned());
    lag.reset();
    age.reset();
    for (const { partition, earliestOffset, endOffset } of ends) {
      if (!assigned.has(partition)) continue;
      const from = committed.get(partition) ?? earliestOffset;
      const records = Number(endOffset - (from > earliestOffset ? from : earliestOffset));
      lag.set({ partition }, Math.max(0, records));
      const newestMs = deps.newestMs(partition);
      if (records <= 0) age.set({ partition }, 0);
      else if (newestMs !== null) age.set({ partition }, (Date.now() - newestMs) / 1_000);
    }
    // Last: a user that may not read the topic's settings has its lag all the same.
    deps.onRetention(await deps.admin.retentionMs(config.topic));
  }

  async function loop(): Promise<void> {
    while (!signal.aborted) {
      try {
        if (deps.assigned().length > 0) await look();
        else {
          lag.reset();
          age.reset();
        }
      } catch (error) {
        if (!signal.aborted)
          deps.logger.debug({ err: error }, `cannot read the lag: ${messageOf(error)}`);
      }
      await delay(config.interval_ms ?? INTERVAL_MS, undefined, { signal }).catch(() => undefined);
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
  };
}
