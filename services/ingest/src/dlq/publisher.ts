import type { KafkaProducer, OutgoingRecord } from '@sockscope/runtime/kafka';

/** Guarantee: when `publish` resolves, every record is in the dead-letter topic, on all in-sync replicas. */
export interface DlqPublisher {
  publish(records: readonly OutgoingRecord[], signal: AbortSignal): Promise<void>;
}

/** Records of one send, so that a batch full of poison does not become one giant request. */
const SEND_MAX_RECORDS = 500;

export function createDlqPublisher(
  config: { readonly topic: string },
  deps: { readonly producer: KafkaProducer },
): DlqPublisher {
  return {
    async publish(records, signal) {
      for (let at = 0; at < records.length; at += SEND_MAX_RECORDS) {
        // oxlint-disable-next-line no-await-in-loop
        await deps.producer.send(config.topic, records.slice(at, at + SEND_MAX_RECORDS), signal);
      }
    },
  };
}
