/**
 * Guarantee: when `publish` resolves, every record is in the dead-letter topic, on all in-sync replicas.
 *
 * What the broker refuses as too large is sent again with its value cut short and a header that says
 * so: the whole of it stands in the origin topic, at the place that the headers name, for as long as
 * that keeps it.
 */
import type { Logger } from '@sockscope/runtime';
import { RecordsRefusedError } from '@sockscope/runtime/kafka';
import type { KafkaProducer, OutgoingRecord } from '@sockscope/runtime/kafka';
import { cutShort } from './dlq-record.js';

export interface DlqPublisher {
  /** @throws KafkaError when the signal fired, or when even what is left of a record is refused. */
  publish(records: readonly OutgoingRecord[], signal: AbortSignal): Promise<void>;
}

/** Records of one send, so that a batch full of poison does not become one giant request. */
const SEND_MAX_RECORDS = 500;

export function createDlqPublisher(
  config: { readonly topic: string },
  deps: { readonly producer: KafkaProducer; readonly logger: Logger },
): DlqPublisher {
  const { producer, logger } = deps;

  async function send(records: readonly OutgoingRecord[], signal: AbortSignal): Promise<void> {
    try {
      await producer.send(config.topic, records, signal);
    } catch (error) {
      if (!(error instanceof RecordsRefusedError)) throw error;
      logger.error(
        { err: error },
        'dead letters are too large for their topic: their values are cut',
      );
      await producer.send(config.topic, error.refused.map(cutShort), signal);
    }
  }

  return {
    async publish(records, signal) {
      for (let at = 0; at < records.length; at += SEND_MAX_RECORDS) {
        // oxlint-disable-next-line no-await-in-loop
        await send(records.slice(at, at + SEND_MAX_RECORDS), signal);
      }
    },
  };
}
