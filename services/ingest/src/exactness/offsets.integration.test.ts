/** Offsets that are out of range, topics that change, invalid records. */
import { dlqTopicOf } from '@sockscope/schemas';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import '@sockscope/runtime/testing';
import { createBed } from '../testing/bed.js';
import type { Bed } from '../testing/bed.js';

let bed: Bed;

beforeEach(async () => {
  bed = await createBed({
    brokers: inject('kafkaBrokers'),
    clickhouseUrl: inject('clickhouseUrl'),
  });
});

afterEach(async () => {
  await bed.remove();
});

describe('ingest', () => {
  it('reports records that Kafka deleted before they were read, and reads the rest', async () => {
    const first = bed.start();
    await bed.produce(60);
    await bed.committed();
    expect(await first.stop()).toBe(0);
    const before = await bed.admin.describeTopic(bed.topic);
    const lostFrom = bed.events.length;
    await bed.produce(60);
    const ends = await bed.admin.describeTopic(bed.topic);
    for (const { partition, endOffset } of ends ?? []) {
      await bed.admin.deleteRecords(bed.topic, partition, endOffset);
    }
    const lost = (ends ?? []).reduce(
      (sum, { partition, endOffset }) =>
        sum + Number(endOffset - (before?.find((b) => b.partition === partition)?.endOffset ?? 0n)),
      0,
    );
    expect(lost).toBe(bed.events.length - lostFrom);
    bed.forget(lostFrom);
    await bed.produce(60);
    const second = bed.start();
    await second.output(
      "Kafka deleted records before they were read; check the topic's retention and the lag",
    );
    await bed.committed();
    const counted = [...second.log().matchAll(/"lost":(\d+)/g)].reduce(
      (sum, m) => sum + Number(m[1]),
      0,
    );
    expect(counted).toBe(lost);
    await bed.expectExact();
  });

  it('reads a topic from its beginning if it was created again while ingest was stopped', async () => {
    const first = bed.start();
    await bed.produce(60);
    await bed.committed();
    expect(await first.stop()).toBe(0);
    await bed.recreateTopic();
    await bed.produce(200);
    bed.start();
    await bed.committed();
    await bed.expectExact();
  });

  it('reads a topic from its beginning if it was created again while ingest ran', async () => {
    const child = bed.start();
    await bed.produce(60);
    await bed.committed();
    await bed.recreateTopic();
    await bed.produce(200);
    await bed.committed();
    await bed.expectExact();
    expect(await child.stop()).toBe(0);
  });

  it('reads partitions that are added while it runs', async () => {
    const child = bed.start();
    await bed.produce(30);
    await bed.committed();
    await bed.admin.addPartitions(bed.topic, 6);
    await bed.produce(200);
    await bed.committed();
    await bed.expectExact();
    expect(await child.stop()).toBe(0);
  });

  it('sends invalid records to the dead-letter topic with origin and reason, and continues', async () => {
    const child = bed.start();
    await bed.produce(20);
    const event = bed.events[0];
    const headers = { 'x-trace': 'abc' };
    const large = `{"user":"${'x'.repeat(900_000)}"}`;
    await bed.produceRecords([
      { key: 'k', value: 'not json', headers },
      { key: null, value: null, headers: {} },
      { key: Buffer.from([0xff, 0x00]), value: Buffer.from([0xfe, 0x01]), headers: {} },
      { key: 'v', value: JSON.stringify({ ...event, schema_version: 99 }), headers: {} },
      { key: 'w', value: JSON.stringify({ ...event, bytes_sent: 'many' }), headers: {} },
      { key: 'g', value: JSON.stringify({ ...event, bytes_sent: 1e300 }), headers: {} },
      { key: 'l', value: large, headers: {} },
    ]);
    await bed.produce(20);
    await bed.committed();
    await bed.expectExact();
    const dead = await bed.readTopic(dlqTopicOf(bed.topic));
    const byReason = new Map(
      dead.map((record) => [
        `${String(record.headers.get('sockscope_dlq_reason'))} ${record.key?.toString('hex') ?? ''}`,
        record,
      ]),
    );
    const hex = (text: string) => Buffer.from(text).toString('hex');
    expect([...byReason.keys()].toSorted()).toEqual(
      [
        `not_json ${hex('k')}`,
        'null_value ',
        'not_json ff00',
        `invalid ${hex('v')}`,
        `invalid ${hex('w')}`,
        `invalid ${hex('g')}`,
        `too_large ${hex('l')}`,
      ].toSorted(),
    );
    const first = byReason.get(`not_json ${hex('k')}`);
    expect(first?.value?.toString()).toBe('not json');
    expect(first?.headers.get('x-trace')).toBe('abc');
    expect(first?.headers.get('sockscope_dlq_topic')).toBe(bed.topic);
    expect(first?.headers.get('sockscope_dlq_partition')).toMatch(/^[012]$/);
    expect(first?.headers.get('sockscope_dlq_offset')).toMatch(/^\d+$/);
    expect(byReason.get(`too_large ${hex('l')}`)?.value?.length).toBe(large.length);
    expect(byReason.get('null_value ')?.value).toBeNull();
    expect(await child.stop()).toBe(0);
  });
});
