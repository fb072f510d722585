/** Reads client quotas, which kafkajs cannot: https://kafka.apache.org/protocol#The_Messages_DescribeClientQuotas */
import { createRequire } from 'node:module';
import type { BrokerVersions } from './support.js';

const DESCRIBE_CLIENT_QUOTAS = 48;

interface Encoder {
  writeInt8(value: number): Encoder;
  writeInt32(value: number): Encoder;
}

interface Decoder {
  readInt16(): number;
  readInt32(): number;
  readString(): string | null;
  readDouble(): number;
  readArray<T>(read: (decoder: Decoder) => T): T[];
}

/** A broker, as far as it is needed here. */
export interface QuotaBroker {
  readonly versions: BrokerVersions;
  readonly connectionPool: { send(request: object): Promise<unknown> };
}

export interface Quota {
  /** Such as `user` and `client-id`; a null name is the default for all without a quota of their own. */
  readonly entity: readonly { readonly type: string; readonly name: string | null }[];
  /** Such as `producer_byte_rate`, bytes a second, for each broker. */
  readonly values: readonly { readonly key: string; readonly value: number }[];
}

/**
 * Resolves with all quotas of the cluster; null when the brokers do not report them (before Kafka 2.6). It
 * takes the permission DescribeConfigs on the cluster.
 *
 * @throws the broker's refusal, as kafkajs does.
 */
export async function describeQuotas(broker: QuotaBroker): Promise<readonly Quota[] | null> {
  if (broker.versions[DESCRIBE_CLIENT_QUOTAS] === undefined) return null;
  const require = createRequire(import.meta.url);
  const EncoderClass = require('kafkajs/src/protocol/encoder') as new () => Encoder;
  const DecoderClass = require('kafkajs/src/protocol/decoder') as new (bytes: Buffer) => Decoder;
  const { createErrorFromCode } = require('kafkajs/src/protocol/error') as {
    createErrorFromCode: (code: number) => Error;
  };
  const answer = await broker.connectionPool.send({
    request: {
      apiKey: DESCRIBE_CLIENT_QUOTAS,
      apiVersion: 0,
      apiName: 'DescribeClientQuotas',
      // No conditions, not strict: all there are.
      encode: async () => new EncoderClass().writeInt32(0).writeInt8(0),
    },
    response: {
      decode: async (bytes: Buffer) => {
        const decoder = new DecoderClass(bytes);
        decoder.readInt32();
        const code = decoder.readInt16();
        decoder.readString();
        if (code !== 0) throw createErrorFromCode(code);
        return decoder.readArray((each) => ({
          entity: each.readArray((part) => ({
            type: part.readString() ?? '',
            name: part.readString(),
          })),
          values: each.readArray((part) => ({
            key: part.readString() ?? '',
            value: part.readDouble(),
          })),
        }));
      },
      parse: async (quotas: unknown) => quotas,
    },
  });
  return answer as readonly Quota[];
}

/** Whether a quota may slow a client of this user and of a client id that begins so. */
export function concerns(quota: Quota, user: string, clientIdPrefix: string): boolean {
  return quota.entity.every(({ type, name }) => {
    if (name === null) return true;
    if (type === 'user') return name === user;
    return type === 'client-id' && name.startsWith(clientIdPrefix);
  });
}

/** Such as `producer_byte_rate=1048576 for user alice`. */
export function quotaText({ entity, values }: Quota): string {
  const rates = values.map(({ key, value }) => `${key}=${value}`).join(', ');
  return `${rates} for ${entity.map(({ type, name }) => `${type} ${name ?? '(default)'}`).join(', ')}`;
}
