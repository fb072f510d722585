/**
 * Looks at a group from outside while a consumer of ours is in it, as an operator would: how many
 * members are of this process, and does every partition of ours move? kafkajs may be wrong about
 * both, for any cause.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../log/logger.js';
import type { ConsumerLife } from './consumer-life.js';
import { kafkaErrorOf } from './errors.js';
import { Progress } from './progress.js';

export interface GroupWatch {
  /** Called for assignments and batches. */
  readonly progress: Progress;
  /** Sends away the members that earlier lives of this process have left in the group. */
  sweep(life: ConsumerLife): Promise<void>;
  /**
   * Looks again and again, and sends away other members of this process. Resolves with the partitions
   * that stand still, or with none when the signal fires.
   */
  watch(life: ConsumerLife, signal: AbortSignal): Promise<readonly number[]>;
  /** Problems that are not solved yet; null if there are none. */
  problem(): string | null;
}

/** Time between two looks, within these bounds a third of the session timeout. */
const INTERVAL_MIN_MS = 1_000;
const INTERVAL_MAX_MS = 10_000;
/** A removed member that is back at this many checks in a row is out of our control. */
const INTRUSIONS_MAX = 3;

export function createGroupWatch(
  config: {
    readonly topic: string;
    readonly session_timeout_ms: number;
    /** How long a partition may do not move while records arrive. */
    readonly stall_limit_ms: number;
  },
  deps: { readonly logger: Logger; readonly onHopeless: (error: Error) => void },
): GroupWatch {
  const progress = new Progress(config.stall_limit_ms);
  const intervalMs = Math.min(
    Math.max(config.session_timeout_ms / 3, INTERVAL_MIN_MS),
    INTERVAL_MAX_MS,
  );
  let intruders: readonly string[] = [];
  let intrusions = 0;

  async function sweep(life: ConsumerLife): Promise<void> {
    const others = await life.otherMembers();
    if (others === null) return;
    intruders = others;
    intrusions = others.length === 0 ? 0 : intrusions + 1;
    for (const member of intruders) {
      deps.logger.error(
        { member },
        'removing a second member of this process from the consumer group',
      );
      await life.expel(member);
    }
  }

  async function look(life: ConsumerLife): Promise<readonly number[]> {
    const [ranges] = await Promise.all([life.admin.fetchTopicOffsets(config.topic), sweep(life)]);
    if (intrusions >= INTRUSIONS_MAX) {
      const members = intruders.join(', ');
      deps.onHopeless(
        new Error(`removed members of this process join the consumer group again: ${members}`),
      );
    }
    const ends = new Map(ranges.map((each) => [each.partition, Number(each.high)]));
    return progress.look(ends, Date.now());
  }

  return {
    progress,
    async sweep(life) {
      await sweep(life);
      // Dead consumers left these.
      intrusions = 0;
    },
    async watch(life, signal) {
      for (;;) {
        await delay(intervalMs, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) return [];
        try {
          const still = await look(life);
          if (still.length > 0) return still;
        } catch (cause) {
          // A broker that does not answer the consumer either is noticed by its watchdog.
          deps.logger.debug(
            { err: kafkaErrorOf(cause, 'group') },
            'cannot read the members of the consumer group',
          );
        }
      }
    },
    problem() {
      if (intruders.length > 0) {
        return `${intruders.length + 1} members of this process are in the consumer group; all but one are being removed`;
      }
      const still = progress.still();
      if (still.length === 0) return null;
      return `partitions ${still.join(', ')} did not move while records arrived; the consumer was started again`;
    },
  };
}
