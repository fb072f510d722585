import { messageOf } from '@sockscope/runtime';
import type { Component, Logger } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import type { PoisonReason } from '../decode/decode-event.js';
import type { PoisonRecord } from './dlq-record.js';

const WRITE_INTERVAL_MS = 10_000;
const WRITE_TIMEOUT_MS = 10_000;
const COLUMNS = ['at', 'reason', 'letters', 'topic', 'partition', 'offset', 'detail'] as const;

export interface DeadLetterCounts extends Component {
  add(letter: PoisonRecord): void;
}

/**
 * Tells the API how many dead letters there were and why, with the newest of each reason. Counts wait in
 * memory, one per reason, until ClickHouse takes them; a process that is killed loses its counts.
 */
export function createDeadLetterCounts(deps: {
  readonly clickhouse: Pick<ClickHouse, 'insert'>;
  readonly logger: Logger;
}): DeadLetterCounts {
  let counts = new Map<PoisonReason, { letters: number; newest: PoisonRecord }>();
  let timer: NodeJS.Timeout | null = null;

  async function flush(): Promise<void> {
    if (counts.size === 0) return;
    const taken = counts;
    counts = new Map();
    const at = toTimestamp(Date.now());
    const rows = [...taken].map(([reason, { letters, newest }]) => {
      const { topic, partition, record, poison } = newest;
      return [at, reason, letters, topic, partition, record.offset, poison.detail];
    });
    try {
      await deps.clickhouse.insert({
        table: 'ingest_dead_letters',
        columns: COLUMNS,
        format: 'JSONCompactEachRow',
        bytes: [Buffer.from(rows.map((row) => JSON.stringify(row)).join('\n'))],
        settings: { date_time_input_format: 'best_effort' },
        timeoutMs: WRITE_TIMEOUT_MS,
      });
    } catch (error) {
      for (const [reason, { letters, newest }] of taken) {
        const since = counts.get(reason);
        counts.set(reason, {
          letters: letters + (since?.letters ?? 0),
          newest: since?.newest ?? newest,
        });
      }
      deps.logger.warn({ err: error }, `dead letters not counted yet: ${messageOf(error)}`);
    }
  }

  return {
    add(letter) {
      const { reason } = letter.poison;
      counts.set(reason, { letters: (counts.get(reason)?.letters ?? 0) + 1, newest: letter });
    },
    start() {
      timer ??= setInterval(() => void flush(), WRITE_INTERVAL_MS);
    },
    async stop() {
      if (timer !== null) clearInterval(timer);
      await flush();
    },
  };
}
