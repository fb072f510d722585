/**
 * Guarantee: no offset after a dead letter is committed before the letter is in its topic.
 *
 * If the topic is missing, full or refuses letters, only the partitions of waiting letters stop. They
 * have delivered at most two batches, and deliver more when these letters are stored.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, signalWithin } from '@sockscope/runtime';
import type { Component } from '@sockscope/runtime';
import type { CommitPosition, OutgoingRecord } from '@sockscope/runtime/kafka';
import type { Waits } from '../waits/waits.js';
import { dlqRecordOf } from './dlq-record.js';
import type { PoisonRecord } from './dlq-record.js';
import type { DlqPublisher } from './publisher.js';

export interface DeadLetters extends Component {
  /** Takes letters. Resolves when they are stored, or after a limited time. Never rejects. */
  deliver(letters: readonly PoisonRecord[]): Promise<void>;
  /** Whether letters of a partition wait. */
  waits(partition: number): boolean;
  /** Commits a position of a partition with waiting letters when these are stored. */
  commitLater(position: CommitPosition): void;
  /** Forgets the records of all other partitions, because another process gets them. */
  retain(partitions: readonly number[]): void;
}

export interface DeadLettersDeps {
  readonly publisher: DlqPublisher;
  readonly waits: Pick<Waits, 'set' | 'clear' | 'has'>;
  readonly commit: (positions: readonly CommitPosition[]) => Promise<boolean>;
  /** Called for each letter that is in. */
  readonly onDelivered: (letter: PoisonRecord) => void;
}

/** Longest time that a batch waits for its letters; then its other partitions continue. */
const PATIENCE_MS = 2_000;
/** Limit of one attempt. After it, the decisions of operators to drop letters are read. */
const ATTEMPT_MS = 30_000;
const RETRY_MS = 1_000;

interface Pending {
  letters: PoisonRecord[];
  position: CommitPosition | null;
  readonly done: Promise<void>;
  readonly resolve: () => void;
}

export function createDeadLetters(
  config: { readonly patience_ms?: number; readonly attempt_ms?: number },
  deps: DeadLettersDeps,
): DeadLetters {
  const pending = new Map<number, Pending>();
  /** Letters of which an attempt has ended. */
  const tried = new WeakSet<Pending>();
  const ending = new AbortController();
  let running: Promise<void> | null = null;

  function pendingOf(partition: number): Pending {
    let found = pending.get(partition);
    if (found === undefined) {
      let resolve = (): void => undefined;
      const done = new Promise<void>((fulfil) => {
        resolve = fulfil;
      });
      found = { letters: [], position: null, done, resolve };
      pending.set(partition, found);
    }
    return found;
  }

  function forget(partition: number): void {
    pending.get(partition)?.resolve();
    pending.delete(partition);
  }

  async function send(partition: number, each: Pending): Promise<void> {
    const sent = [...each.letters];
    const records = new Map<OutgoingRecord, PoisonRecord>(
      sent.map((letter) => [dlqRecordOf(letter), letter]),
    );
    const signal = signalWithin(ending.signal, config.attempt_ms ?? ATTEMPT_MS);
    const refused = await deps.publisher.publish([...records.keys()], signal);
    const kept = new Set(refused.map((record) => records.get(record)));
    for (const letter of sent) if (!kept.has(letter)) deps.onDelivered(letter);
    // Records that arrived during the attempt come after them.
    each.letters = [
      ...sent.filter((letter) => kept.has(letter)),
      ...each.letters.slice(sent.length),
    ];
    if (refused.length > 0)
      say(partition, each, 'the dead-letter topic refuses even its beginning');
  }

  function say(partition: number, { letters }: Pending, why: string): void {
    const { offset = 0, timestampMs = 0 } = letters[0]?.record ?? {};
    const reason = `an invalid record cannot go to the dead-letter topic: ${why}`;
    deps.waits.set({
      partition,
      offset,
      kind: 'dead_letters',
      reason,
      neededVersion: 0,
      timestampMs,
    });
  }

  async function settle(partition: number, each: Pending): Promise<void> {
    if (pending.get(partition) !== each || each.letters.length > 0) return;
    forget(partition);
    deps.waits.clear(partition);
    if (each.position !== null) await deps.commit([each.position]);
  }

  async function run(): Promise<void> {
    while (pending.size > 0 && !ending.signal.aborted) {
      for (const [partition, each] of pending) {
        // A record that an operator decided to skip is tried once, then dropped.
        if (tried.has(each)) {
          each.letters = each.letters.filter(
            ({ record }) => !deps.waits.has(partition, record.offset),
          );
        }
        try {
          if (each.letters.length > 0) await send(partition, each);
        } catch (error) {
          if (ending.signal.aborted) return;
          say(partition, each, messageOf(error));
        }
        tried.add(each);
        await settle(partition, each);
      }
      if (pending.size > 0) {
        await delay(RETRY_MS, undefined, { signal: ending.signal }).catch(() => undefined);
      }
    }
  }

  function kick(): void {
    running ??= run().finally(() => {
      running = null;
      if (pending.size > 0 && !ending.signal.aborted) kick();
    });
  }

  return {
    start: () => undefined,
    async stop() {
      ending.abort();
      await running;
    },
    async deliver(letters) {
      const partitions = new Set(letters.map(({ partition }) => partition));
      for (const letter of letters) pendingOf(letter.partition).letters.push(letter);
      if (partitions.size === 0) return;
      kick();
      const over = new AbortController();
      await Promise.race([
        Promise.all([...partitions].map((partition) => pendingOf(partition).done)),
        delay(config.patience_ms ?? PATIENCE_MS, undefined, {
          signal: AbortSignal.any([over.signal, ending.signal]),
        }).catch(() => undefined),
      ]);
      over.abort();
      for (const partition of partitions) {
        const late = pending.get(partition);
        if (late !== undefined) say(partition, late, 'Kafka has not acknowledged it yet');
      }
    },
    commitLater(position) {
      const each = pending.get(position.partition);
      if (each === undefined) void deps.commit([position]);
      else each.position = position;
    },
    waits: (partition) => pending.has(partition),
    retain(partitions) {
      for (const partition of pending.keys()) {
        if (!partitions.includes(partition)) forget(partition);
      }
    },
  };
}
