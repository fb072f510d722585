import { createLogger } from '@sockscope/runtime';
import { KafkaError, RecordsRefusedError } from '@sockscope/runtime/kafka';
import type { OutgoingRecord } from '@sockscope/runtime/kafka';
import { describe, expect, it } from 'vitest';
import { createDlqPublisher } from './publisher.js';

const MIB = 1024 ** 2;
const signal = new AbortController().signal;

function record(valueBytes: number, rest: Partial<OutgoingRecord> = {}): OutgoingRecord {
  return { key: null, value: Buffer.alloc(valueBytes), headers: {}, ...rest };
}

/** The records that are sent; `refuses` names records that the broker refuses. */
function publisher(refuses: (record: OutgoingRecord) => boolean = () => false) {
  const sends: (readonly OutgoingRecord[])[] = [];
  const dlq = createDlqPublisher(
    { topic: 'events.dlq' },
    {
      producer: {
        async send(_topic, records) {
          sends.push(records);
          const refused = records.filter(refuses);
          if (refused.length === 0) return;
          throw new RecordsRefusedError(
            refused,
            new KafkaError('kafka_rejected', 'too large', { retryable: false }),
          );
        },
        stop() {},
      },
      logger: createLogger('test', { level: 'silent' }),
    },
  );
  return { sends, publish: (records: OutgoingRecord[]) => dlq.publish(records, signal) };
}

describe('dead letters', () => {
  it('are sent in their order, no more of them at once than one request may carry', async () => {
    const { sends, publish } = publisher();
    const key = Buffer.alloc(1.5 * MIB);
    const headers = { h: Buffer.alloc(1.5 * MIB) };
    const few = [record(1.5 * MIB), record(0, { key }), record(0, { headers }), record(5 * MIB)];
    const records = [...few, ...Array.from({ length: 1_200 }, () => record(1))];
    await publish(records);
    expect(sends.flat()).toEqual(records);
    expect(sends.map((each) => each.length)).toEqual([1, 1, 1, 1, 500, 500, 200]);
    sends.length = 0;
    await publish([]);
    expect(sends).toEqual([]);
  });

  it('that no broker takes are cut before it closes the connection over them', async () => {
    const { sends, publish } = publisher();
    const large = record(1, { headers: { theirs: Buffer.alloc(70 * MIB) } });
    await publish([record(1), record(70 * MIB), large, record(2)]);
    const values = sends.flat().map(({ value }) => value?.length);
    expect(values).toEqual([1, 65_536, 1, 2]);
    expect(sends.flat().map(({ headers }) => headers)).toEqual([
      {},
      { sockscope_dlq_cut_from_bytes: String(70 * MIB) },
      { sockscope_dlq_cut_from_bytes: '1' },
      {},
    ]);
  });

  it('that the broker refuses are sent again, cut', async () => {
    const { sends, publish } = publisher(({ value }) => (value?.length ?? 0) > MIB);
    await publish([record(1), record(1.1 * MIB), record(2)]);
    expect(sends).toHaveLength(2);
    expect(sends[1]?.map(({ value }) => value?.length)).toEqual([65_536]);
  });

  it('that are refused even when they are cut are named, and the others are sent', async () => {
    const { sends, publish } = publisher(({ key }) => key?.toString() === 'refused');
    const hopeless = record(1, { key: 'refused' });
    const many = Array.from({ length: 600 }, () => record(1));
    expect(await publish([hopeless, ...many])).toEqual([hopeless]);
    expect(sends.flat()).toHaveLength(602);
  });
});
