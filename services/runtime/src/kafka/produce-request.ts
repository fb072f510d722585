/**
 * Sends packed batches instead of messages. kafkajs takes only messages, makes about twenty buffers
 * of each, copies a partition's list for every message, and compresses in the thread pool, where
 * slow name lookups queue too; see ADR 0005.
 *
 * kafkajs 2.2.4 has no setting for that: the encoder of the Produce request, version 7, is replaced
 * by one that knows batches and leaves everything else to kafkajs's. The version is pinned; tests
 * cover the internals that we use.
 */
import { createRequire } from 'node:module';
import type { ICustomPartitioner } from 'kafkajs';
import { KafkaError } from './errors.js';
import { PackedBatch } from './record-packer.js';

interface ProduceArguments {
  readonly acks: number;
  readonly timeout: number;
  readonly topicData: readonly {
    readonly topic: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly messages: readonly unknown[];
    }[];
  }[];
}

interface Encoder {
  buf: Buffer;
  offset: number;
}

interface ProduceRequest {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly apiName: string;
  expectResponse(): boolean;
  encode(): Promise<Encoder>;
}

type BuildRequest = (args: ProduceArguments) => ProduceRequest;

const PRODUCE_API_KEY = 0;
const PRODUCE_VERSION = 7;

let installed = false;

/** Replaces the encoder, once. */
export function installProduceEncoder(): void {
  if (installed) return;
  installed = true;
  const require = createRequire(import.meta.url);
  const EncoderClass = require('kafkajs/src/protocol/encoder') as new (size: number) => Encoder;
  for (let version = 0; version <= PRODUCE_VERSION; version += 1) {
    const path = require.resolve(`kafkajs/src/protocol/requests/produce/v${version}/request`);
    const original = require(path) as BuildRequest;
    const cached = require.cache[path];
    if (cached === undefined) throw new Error(`kafkajs has no Produce ${version}`);
    // kafkajs loads this module for every request, so it finds our encoder.
    cached.exports = (args: ProduceArguments): ProduceRequest => {
      if (!isPacked(args)) return original(args);
      // A broker among newer ones: it would acknowledge records and store something else.
      if (version < PRODUCE_VERSION) throw unsupported(version);
      return {
        apiKey: PRODUCE_API_KEY,
        apiVersion: PRODUCE_VERSION,
        apiName: 'Produce',
        expectResponse: () => args.acks !== 0,
        // kafkajs expects an async function here.
        encode: async () => {
          const encoder = new EncoderClass(1);
          encoder.buf = encodeProduceRequest(args);
          encoder.offset = encoder.buf.length;
          return encoder;
        },
      };
    };
  }
}

function unsupported(version: number): KafkaError {
  return new KafkaError(
    'kafka_unsupported',
    `a broker supports Produce up to version ${version}; version ${PRODUCE_VERSION} is needed: ` +
      'use Apache Kafka 2.4 or later',
    { retryable: true },
  );
}

function isPacked(args: ProduceArguments): boolean {
  return args.topicData.every(({ partitions }) =>
    partitions.every(({ messages }) => messages.every((each) => each instanceof PackedBatch)),
  );
}

/** The body of the request: `transactional_id acks timeout [topic [partition record_set]]`. */
export function encodeProduceRequest({ acks, timeout, topicData }: ProduceArguments): Buffer {
  const parts: Buffer[] = [];
  const head = Buffer.allocUnsafe(12);
  head.writeInt16BE(-1, 0);
  head.writeInt16BE(acks, 2);
  head.writeInt32BE(timeout, 4);
  head.writeInt32BE(topicData.length, 8);
  parts.push(head);
  for (const { topic, partitions } of topicData) {
    const topicBytes = Buffer.byteLength(topic);
    const topicHead = Buffer.allocUnsafe(2 + topicBytes + 4);
    topicHead.writeInt16BE(topicBytes, 0);
    topicHead.write(topic, 2);
    topicHead.writeInt32BE(partitions.length, 2 + topicBytes);
    parts.push(topicHead);
    for (const { partition, messages } of partitions) {
      // One, because a batch is all that its partition gets.
      const [batch] = messages;
      if (!(batch instanceof PackedBatch)) throw new Error('a batch is missing');
      const partitionHead = Buffer.allocUnsafe(8);
      partitionHead.writeInt32BE(partition, 0);
      partitionHead.writeInt32BE(batch.value.length, 4);
      parts.push(partitionHead, batch.value);
    }
  }
  return Buffer.concat(parts);
}

/**
 * Reports the number of partitions, which kafkajs gives to its partitioner only. It refuses batches
 * packed for another number, before anything is sent.
 */
export function packedPartitioner(counts: Map<string, number>): ICustomPartitioner {
  return () =>
    ({ topic, partitionMetadata, message }) => {
      const count = partitionMetadata.length;
      counts.set(topic, count);
      if (!(message instanceof PackedBatch) || message.partitions !== count) {
        throw new Error(`${topic} has ${count} partitions`);
      }
      const { partition } = message;
      // kafkajs would leave the batch out, and report the others as all.
      if (!partitionMetadata.some(({ partitionId }) => partitionId === partition)) {
        throw new Error(`${topic}: partition ${partition} of ${count} is not known`);
      }
      return partition;
    };
}
