/** Commits the offsets of a group's member until Kafka has taken them. */
import type { Consumer } from 'kafkajs';
import type { Logger } from '../log/logger.js';
import type { CommitPosition, ConsumerEvents } from './consumer-types.js';
import { kafkaErrorOf } from './errors.js';
import { settle } from './owned-partitions.js';
import type { OwnedPartitions } from './owned-partitions.js';
import { formatAnchor } from './start-offset.js';

/** Offsets that were not committed are committed again after this time. */
const RETRY_MS = 1_000;

export interface Commits {
  /** See GroupConsumer. */
  commit(positions: readonly CommitPosition[]): Promise<boolean>;
  stop(): void;
}

/** @param consumer returns null if there is none in the group. */
export function createCommits(
  topic: string,
  owned: OwnedPartitions,
  consumer: () => Pick<Consumer, 'commitOffsets'> | null,
  deps: { readonly logger: Logger; readonly events: ConsumerEvents },
): Commits {
  let last: Promise<boolean> = Promise.resolve(true);
  let retry: NodeJS.Timeout | undefined;

  /** Commits all that is durable. If that fails it is tried again, because there may be no next batch. */
  async function commitDue(positions: readonly CommitPosition[]): Promise<boolean> {
    const due = owned.due(positions);
    clearTimeout(retry);
    if (due.length === 0) return true;
    try {
      const member = consumer();
      if (member === null) {
        retryLater();
        return false;
      }
      await member.commitOffsets(
        due.map(({ partition, durable }) => ({
          topic,
          partition,
          offset: String(durable.offset),
          metadata: formatAnchor(durable.anchor),
        })),
      );
      settle(due);
      deps.events.onCommit?.(null);
      return true;
    } catch (cause) {
      retryLater();
      const error = kafkaErrorOf(cause, 'commit');
      deps.logger.warn({ err: error }, 'offsets were not committed; they are committed again soon');
      deps.events.onCommit?.(error);
      return false;
    }
  }

  function retryLater(): void {
    retry = setTimeout(() => void commit([]), RETRY_MS);
  }

  /** One after the other: an earlier offset must not arrive last. */
  function commit(positions: readonly CommitPosition[]): Promise<boolean> {
    last = last.then(() => commitDue(positions));
    return last;
  }

  return {
    commit,
    stop() {
      clearTimeout(retry);
    },
  };
}
