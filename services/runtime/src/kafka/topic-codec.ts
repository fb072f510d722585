import { setTimeout as delay } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import type { Kafka } from 'kafkajs';
import { CODECS, HAS_ZSTD } from './codecs.js';
import type { Codec } from './codecs.js';

/** Longer than any broker takes to answer; sending waits for it once a connection. */
const DEADLINE_MS = 5_000;

/**
 * Returns the codec that the topic's `compression.type` names. Brokers compress batches in another
 * codec again. Null when the topic takes any (`producer`), when we cannot write it, and when we
 * cannot see the setting: that needs the permission DescribeConfigs.
 */
export async function codecOfTopic(kafka: Kafka, topic: string): Promise<Codec | null> {
  const admin = kafka.admin({ retry: { retries: 0 } });
  const setting = (async () => {
    await admin.connect();
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [
        { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configNames: ['compression.type'] },
      ],
    });
    return resources[0]?.configEntries[0]?.configValue ?? null;
  })().catch(() => null);
  const over = new AbortController();
  const late = delay(DEADLINE_MS, null, { signal: over.signal }).catch(() => null);
  const value = await Promise.race([setting, late]);
  over.abort();
  void admin.disconnect().catch(() => undefined);
  if (value === 'uncompressed') return 'none';
  const codec = CODECS.find((each) => each === value) ?? null;
  return codec === 'zstd' && !HAS_ZSTD ? null : codec;
}
