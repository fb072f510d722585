import type { KafkaError } from '@sockscope/runtime/kafka';
import type { PublishFailures } from './messages.js';

const LOG_INTERVAL_MS = 30_000;

export interface OutageLog {
  /** Since when Kafka acknowledges nothing though something waits, milliseconds since 1970; null while it does. */
  readonly sinceMs: number | null;
  /** The reason, as the operator sees it; null while it does. */
  readonly reason: string | null;
  /** Failures by kind; the kinds are Kafka's, so they are few. */
  readonly failures: readonly PublishFailures[];
  /** A request failed and is repeated after `delayMs`. */
  failed(error: KafkaError, attempt: number, delayMs: number): void;
  /** Events wait for another reason than a failed request. */
  waiting(fields: Record<string, unknown>, reason: string): void;
  /** A request was acknowledged. */
  ended(): void;
}

/** Logs when Kafka is away and when it is back, at a bounded rate. */
export function createOutageLog(deps: {
  readonly log: (
    level: 'info' | 'warn' | 'error',
    fields: Record<string, unknown>,
    message: string,
  ) => void;
  readonly waitingBytes: () => number;
}): OutageLog {
  const failures = new Map<string, PublishFailures>();
  let sinceMs: number | null = null;
  let reason: string | null = null;
  let nextLogMs = 0;

  function note(
    level: 'warn' | 'error',
    fields: Record<string, unknown>,
    why: string,
    message: string,
  ): void {
    const nowMs = Date.now();
    sinceMs ??= nowMs;
    reason = why;
    if (nowMs < nextLogMs) return;
    nextLogMs = nowMs + LOG_INTERVAL_MS;
    deps.log(
      level,
      { ...fields, outage_seconds: secondsSince(nowMs), waiting_bytes: deps.waitingBytes() },
      message,
    );
  }

  const secondsSince = (nowMs: number): number => Math.round((nowMs - (sinceMs ?? nowMs)) / 1_000);

  return {
    get sinceMs() {
      return sinceMs;
    },
    get reason() {
      return reason;
    },
    get failures() {
      return [...failures.values()];
    },
    failed(error, attempt, delayMs) {
      const kind = { code: error.code, type: error.type ?? 'none' };
      const key = `${kind.code}/${kind.type}`;
      failures.set(key, { ...kind, count: (failures.get(key)?.count ?? 0) + 1 });
      note(
        'warn',
        { code: error.code, type: error.type, attempt, retry_in_ms: delayMs },
        error.message,
        `events wait for Kafka: ${error.message}`,
      );
    },
    waiting(fields, why) {
      note('error', fields, why, why);
    },
    ended() {
      if (sinceMs === null) return;
      deps.log(
        'info',
        { outage_seconds: secondsSince(Date.now()) },
        'Kafka acknowledges events again',
      );
      sinceMs = null;
      reason = null;
      nextLogMs = 0;
    },
  };
}
