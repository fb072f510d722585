import { createKafkaProducer, kafkaConfig } from '@sockscope/runtime/kafka';
import { cloudEventHeaders } from '@sockscope/schemas';
import { pino } from 'pino';
import { history, type HistoryOptions } from './history.js';

const BATCH_RECORDS = 2_000;

/**
 * Sends all of the history to the topic, and resolves with the number of its events when the last one
 * is acknowledged. Earlier runs sent the same events, so repeating them changes nothing.
 *
 * @throws KafkaError `kafka_aborted` when the signal fires.
 */
export async function sendHistory(
  to: { readonly brokers: readonly string[]; readonly topic: string },
  options: HistoryOptions,
  signal: AbortSignal,
): Promise<number> {
  const producer = createKafkaProducer(
    kafkaConfig.parse({ brokers: [...to.brokers], topic: to.topic }),
    { logger: pino({ level: 'silent' }), role: 'demo' },
  );
  let sent = 0;
  try {
    for (const day of history(options)) {
      for (let from = 0; from < day.length; from += BATCH_RECORDS) {
        const records = day.slice(from, from + BATCH_RECORDS).map((event) => ({
          key: event.session_id,
          value: JSON.stringify(event),
          headers: cloudEventHeaders(event),
        }));
        await producer.send(to.topic, records, signal);
        sent += records.length;
      }
    }
    return sent;
  } finally {
    producer.stop();
  }
}
