import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from '../log/logger.js';
import { kafkaConfig } from './config.js';
import type { KafkaError } from './errors.js';
import { createKafkaProducer } from './producer.js';
import { API_NEEDS, BROKERS, lackOf, lackOfBroker } from './support.js';

const API_VERSIONS = 18;
/** The number of every request that arrived. */
const requests: number[] = [];
let address = '';

/** Answers to ApiVersions as Kafka 2.0.1 does, and to nothing else. */
const oldBroker = net.createServer((socket) => {
  socket.on('error', () => undefined);
  socket.on('data', (request: Buffer) => {
    const api = request.readInt16BE(4);
    requests.push(api);
    if (api !== API_VERSIONS) return;
    const offered = [
      [0, 0, 6],
      [1, 0, 8],
      [3, 0, 6],
      [API_VERSIONS, 0, 2],
    ];
    const body = Buffer.alloc(4 + 2 + 4 + offered.length * 6 + 4);
    body.writeInt32BE(request.readInt32BE(8), 0);
    body.writeInt32BE(offered.length, 6);
    offered.flat().forEach((value, i) => body.writeInt16BE(value, 10 + i * 2));
    const size = Buffer.alloc(4);
    size.writeInt32BE(body.length);
    socket.write(Buffer.concat([size, body]));
  });
});

beforeAll(async () => {
  oldBroker.listen(0, '127.0.0.1');
  await once(oldBroker, 'listening');
  address = `127.0.0.1:${(oldBroker.address() as AddressInfo).port}`;
});
afterAll(() => {
  oldBroker.close();
});

const allOf = (range: readonly [number, number]) =>
  Object.fromEntries(
    API_NEEDS.map(({ key }) => [key, { minVersion: range[0], maxVersion: range[1] }]),
  );

describe('brokers that are not supported', () => {
  it('a broker that supports Produce up to version 6 is refused with a sentence before anything is sent', async () => {
    const abort = new AbortController();
    const failures: KafkaError[] = [];
    const producer = createKafkaProducer(kafkaConfig.parse({ brokers: [address] }), {
      logger: createLogger('test', { level: 'silent' }),
      role: 'test',
      hooks: {
        onFailure(error) {
          failures.push(error);
          abort.abort();
        },
      },
    });
    const record = { key: 'a', value: 'b', headers: {} };
    await expect(producer.send('t', [record], abort.signal)).rejects.toMatchObject({
      code: 'kafka_aborted',
    });
    producer.stop();
    expect(failures[0]).toMatchObject({ code: 'kafka_unsupported', retryable: true });
    expect(failures[0]?.message).toContain('it supports Produce 0 to 6; needed: version 7');
    expect(new Set(requests)).toEqual(new Set([API_VERSIONS]));
  });

  it('a broker is also refused for a version of a request that it has dropped', () => {
    expect(lackOf(allOf([0, 99]), 'produce')).toBeNull();
    expect(lackOf({ ...allOf([0, 99]), 0: { minVersion: 8, maxVersion: 20 } }, 'produce')).toBe(
      'it supports Produce 8 to 20; needed: version 7',
    );
    expect(lackOf({ ...allOf([0, 99]), 11: { minVersion: 6, maxVersion: 9 } }, 'consume')).toBe(
      'it supports JoinGroup 6 to 9; needed: versions 0 to 5',
    );
    expect(lackOf({}, 'admin')).toBe('it does not support ListOffsets');
  });

  it('the matrix of brokers refuses Kafka 2.0.1 and Event Hubs, and no other', () => {
    const refused = BROKERS.filter((broker) => lackOfBroker(broker) !== null);
    expect(refused.map(({ name }) => name)).toEqual(['Apache Kafka 2.0.1', 'Azure Event Hubs']);
  });
});
