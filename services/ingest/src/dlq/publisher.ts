/**
 * Guarantee: when `publish` resolves, every record is in the dead-letter topic, on all in-sync
 * replicas, except the records that it names.
 *
 * If the broker refuses a dead letter as too large, it is sent again with a cut value and a header
 * with the original length. The origin topic has the whole record at the offset in the headers,
 * until its retention. A value that no broker accepts is cut before it is sent: a broker would close
 * the connection without an error.
 */
import type { Logger } from '@sockscope/runtime';
import { RecordsRefusedError } from '@sockscope/runtime/kafka';
import type { KafkaProducer, OutgoingRecord } from '@sockscope/runtime/kafka';
import { bytesOf, cutShort } from './dlq-record.js';

export interface DlqPublisher {
  /**
   * @returns the records that the topic refuses even when they are cut.
   * @throws KafkaError when the signal fired.
   */
  publish(
    records: readonly OutgoingRecord[],
    signal: AbortSignal,
  ): Promise<readonly OutgoingRecord[]>;
}

/** Records of one send, so that a batch full of poison does not become one giant request. */
const SEND_MAX_RECORDS = 500;
/**
 * Bytes of one send before compression; a larger record goes alone. Brokers take 1 MiB as one record
 * batch, compressed, and the topic has one partition mostly: of a larger send parts would be refused.
 */
export const SEND_MAX_BYTES = 2 * 1024 ** 2;
/** Only the beginning of a larger record is sent: brokers take requests of 100 MiB. */
const WHOLE_MAX_BYTES = 64 * 1024 ** 2;

export function createDlqPublisher(
  config: { readonly topic: string },
  deps: { readonly producer: KafkaProducer; readonly logger: Logger },
): DlqPublisher {
  const { producer, logger } = deps;

  /** Resolves with the refused records. */
  async function sendAll(
    records: readonly OutgoingRecord[],
    signal: AbortSignal,
  ): Promise<readonly OutgoingRecord[]> {
    try {
      await producer.send(config.topic, records, signal);
      return [];
    } catch (error) {
      if (!(error instanceof RecordsRefusedError)) throw error;
      return (error as RecordsRefusedError).refused;
    }
  }

  async function send(
    records: readonly OutgoingRecord[],
    signal: AbortSignal,
  ): Promise<readonly OutgoingRecord[]> {
    const tooLarge = await sendAll(records, signal);
    if (tooLarge.length === 0) return [];
    logger.error({ records: tooLarge.length }, 'dead letters are too large: their values are cut');
    const whole = new Map(tooLarge.map((record) => [cutShort(record), record]));
    const refused = await sendAll([...whole.keys()], signal);
    return refused.map((record) => whole.get(record) ?? record);
  }

  return {
    async publish(records, signal) {
      const whole = new Map(records.map((record) => [fitting(record), record]));
      const refused: OutgoingRecord[] = [];
      for (const part of partsOf([...whole.keys()])) {
        for (const record of await send(part, signal)) refused.push(whole.get(record) ?? record);
      }
      return refused;
    },
  };

  function fitting(record: OutgoingRecord): OutgoingRecord {
    const bytes = sentBytesOf(record);
    if (bytes <= WHOLE_MAX_BYTES) return record;
    logger.error({ bytes }, 'a dead letter is cut');
    return cutShort(record);
  }

  /** Cuts the records, in their order, into parts that one request may carry. */
  function* partsOf(records: readonly OutgoingRecord[]): Generator<readonly OutgoingRecord[]> {
    let part: OutgoingRecord[] = [];
    let partBytes = 0;
    for (const record of records) {
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
