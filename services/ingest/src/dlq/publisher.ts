/**
 * Guarantee: when `publish` resolves, every record is in the dead-letter topic, on all in-sync replicas.
 *
 * What the broker refuses as too large is sent again with its value cut short and a header that says
 * so: the whole of it stands in the origin topic, at the place that the headers name, for as long as
 * that keeps it. What no broker takes is cut before it is sent: it would not say that a record is too
 * large, but close the connection.
 */
import type { Logger } from '@sockscope/runtime';
import { RecordsRefusedError } from '@sockscope/runtime/kafka';
import type { KafkaProducer, OutgoingRecord } from '@sockscope/runtime/kafka';
import { bytesOf, cutShort } from './dlq-record.js';

export interface DlqPublisher {
  /** @throws KafkaError when the signal fired, or when even what is left of a record is refused. */
  publish(records: readonly OutgoingRecord[], signal: AbortSignal): Promise<void>;
}

/** Records of one send, so that a batch full of poison does not become one giant request. */
const SEND_MAX_RECORDS = 500;
/**
 * Bytes of one send before compression; a larger record goes alone. Brokers take 1 MiB as one record
 * batch, compressed, and the topic has one partition mostly: of a larger send parts would be refused.
 */
export const SEND_MAX_BYTES = 2 * 1024 ** 2;
/** Of a larger record nothing but its beginning is sent: brokers take requests of 100 MiB. */
const WHOLE_MAX_BYTES = 64 * 1024 ** 2;

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
      for (const part of partsOf(records)) {
        await send(part, signal);
      }
    },
  };

  /** In their order, as many at once as one request may carry. */
  function* partsOf(records: readonly OutgoingRecord[]): Generator<readonly OutgoingRecord[]> {
    let part: OutgoingRecord[] = [];
    let partBytes = 0;
    for (const whole of records) {
      const isTooLarge = sentBytesOf(whole) > WHOLE_MAX_BYTES;
      if (isTooLarge) logger.error({ bytes: sentBytesOf(whole) }, 'a dead letter is cut');
      const record = isTooLarge ? cutShort(whole) : whole;
      const bytes = sentBytesOf(record);
      const isFull = part.length >= SEND_MAX_RECORDS || partBytes + bytes > SEND_MAX_BYTES;
      if (isFull && part.length > 0) {
        yield part;
        part = [];
        partBytes = 0;
      }
      part.push(record);
      partBytes += bytes;
    }
    if (part.length > 0) yield part;
  }
}

export function sentBytesOf({ key, value, headers }: OutgoingRecord): number {
  return bytesOf(key, value, Object.entries(headers));
}
