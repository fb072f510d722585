import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, SockscopeError } from '@sockscope/runtime';
import type { Component, Logger } from '@sockscope/runtime';
import type { GroupConsumer } from '@sockscope/runtime/kafka';
import type { Pipeline } from '../pipeline/pipeline.js';

export interface Ingestion extends Component {
  /** The reason why it has not begun, or null once it has. */
  tableProblem(): string | null;
}

const CHECK_INTERVAL_MS = 2_000;

/**
 * Begins to consume once the tables are as this version writes them; until then it waits, because
 * `migrate` may be on its way. A stop takes no more, writes and commits the records that it holds, then leaves.
 */
export function createIngestion(
  config: { readonly drain_ms: number },
  deps: {
    readonly consumer: GroupConsumer;
    readonly pipeline: Pipeline;
    /** @throws if a table differs from the expected one. */
    readonly checkTables: (signal: AbortSignal) => Promise<void>;
    /** Called for a fault that waiting cannot repair: the tables belong to another topic. */
    readonly fail: (error: Error) => void;
    readonly logger: Logger;
  },
): Ingestion {
  const { consumer, pipeline, logger } = deps;
  const stopping = new AbortController();
  let problem: string | null = 'not checked yet';
  let hasBegun = false;
  let begin: Promise<void> = Promise.resolve();

  async function beginWhenReady(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await deps.checkTables(stopping.signal);
        break;
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (error instanceof SockscopeError && error.code === 'source_differs') {
          problem = error.message;
          deps.fail(error);
          return;
        }
        const text = messageOf(error);
        if (text !== problem) logger.error({ err: error }, `waiting for the tables: ${text}`);
        problem = text;
      }
      await delay(CHECK_INTERVAL_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
    if (stopping.signal.aborted) return;
    problem = null;
    hasBegun = true;
    consumer.start();
  }

  return {
    start() {
      begin = beginWhenReady();
    },
    async stop() {
      stopping.abort();
      await begin;
      if (!hasBegun) return;
      consumer.quiesce();
      try {
        await pipeline.drain(AbortSignal.timeout(config.drain_ms));
      } finally {
        pipeline.abort();
        await consumer.stop();
      }
    },
    tableProblem: () => problem,
  };
}
