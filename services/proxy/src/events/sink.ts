import type { SessionEvent } from '@sockscope/schemas';
import type { SessionReading } from './reading.js';

/** Where the tracker puts events. Never blocks, never throws; delivery to Kafka is at least once. */
export interface EventSink {
  /**
   * Takes an event. Events of one session are given in the order of their `seq`.
   * A TrafficDelta that waits is superseded by the next one of its session in the same minute.
   */
  emit(event: SessionEvent): void;
  /** Keeps what a session has counted, for the case that this process dies. Not an event. */
  note(reading: SessionReading): void;
  /**
   * False while queue and spool are full and the policy is to refuse: the caller then opens
   * no new session and answers with reply 01.
   */
  readonly accepting: boolean;
}
