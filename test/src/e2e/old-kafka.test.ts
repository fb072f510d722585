/**
 * Against brokers of earlier years: the rows of the support matrix with "tried". Each fetches its
 * jars by Maven and starts ZooKeeper too, so they run with SOCKSCOPE_OLD_KAFKA=1 only;
 * services/runtime/src/kafka/support.test.ts proves parts of it in every run.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pickFreePort } from '@sockscope/local';
import { createLogger } from '@sockscope/runtime';
import {
  createKafkaAdmin,
  createKafkaProducer,
  kafkaConfig,
  readTopic,
} from '@sockscope/runtime/kafka';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { tempDir, until } from '../chaos/support/site.js';

const LIBS = fileURLToPath(new URL('../../../.local/old-kafka', import.meta.url));
const ZOOKEEPER = '3.5.10';
const logger = createLogger('test', { level: 'silent' });
const RECORDS = Array.from({ length: 1_000 }, (_, i) => ({
  key: `key ${i % 50}`,
  value: `value ${i}`,
  headers: { number: String(i) },
}));

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** The jars of a version, fetched once. */
async function classPathOf(version: string, scala: string): Promise<string> {
  const dir = join(LIBS, version);
  const libs = join(dir, 'libs');
  if (!existsSync(libs)) {
    await mkdir(dir, { recursive: true });
    const dependency = (group: string, artifact: string, v: string) =>
      `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${v}</version></dependency>`;
    await writeFile(
      join(dir, 'pom.xml'),
      `<project><modelVersion>4.0.0</modelVersion><groupId>sockscope</groupId><artifactId>old-kafka</artifactId><version>1</version><packaging>pom</packaging><dependencies>${dependency('org.apache.kafka', `kafka_${scala}`, version)}${dependency('org.apache.zookeeper', 'zookeeper', ZOOKEEPER)}${dependency('org.slf4j', 'slf4j-simple', '1.7.36')}</dependencies></project>`,
    );
    await promisify(execFile)(
      'mvn',
      [
        '-q',
        '-B',
        'dependency:copy-dependencies',
        `-DoutputDirectory=${libs}`,
        '-DincludeScope=runtime',
        '-DexcludeArtifactIds=slf4j-log4j12,slf4j-reload4j,logback-classic',
      ],
      { cwd: dir },
    );
  }
  return join(libs, '*');
}

function java(classPath: string, args: readonly string[]): void {
  const child = spawn('java', ['-Xmx256m', '-cp', classPath, ...args], { stdio: 'ignore' });
  cleanups.push(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function startOldKafka(version: string, scala: string): Promise<KafkaConfig> {
  const classPath = await classPathOf(version, scala);
  const { dir, remove } = await tempDir('old-kafka');
  cleanups.push(remove);
  const [zooKeeper, port] = [await pickFreePort(), await pickFreePort()];
  await writeFile(
    join(dir, 'zoo.cfg'),
    `dataDir=${dir}/zookeeper\nclientPort=${zooKeeper}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n`,
  );
  java(classPath, ['org.apache.zookeeper.server.quorum.QuorumPeerMain', join(dir, 'zoo.cfg')]);
  await until('ZooKeeper listens', 60_000, () => isOpen(zooKeeper));
  await writeFile(
    join(dir, 'server.properties'),
    [
      'broker.id=1',
      `listeners=PLAINTEXT://127.0.0.1:${port}`,
      `zookeeper.connect=127.0.0.1:${zooKeeper}`,
      `log.dirs=${dir}/data`,
      'offsets.topic.replication.factor=1',
      'offsets.topic.num.partitions=4',
      'group.initial.rebalance.delay.ms=0',
      'auto.create.topics.enable=false',
    ].join('\n'),
  );
  java(classPath, ['kafka.Kafka', join(dir, 'server.properties')]);
  await until('Kafka listens', 60_000, () => isOpen(port));
  return kafkaConfig.parse({ brokers: [`127.0.0.1:${port}`], topic: 'events' });
}

async function withTopic(kafka: KafkaConfig) {
  const admin = createKafkaAdmin(kafka, { logger, role: 'test' });
  cleanups.push(() => admin.stop());
  // Brokers of that time do not take -1 for their default. A broker listens before it has a controller.
  await vi.waitFor(
    () => admin.ensureTopic({ name: kafka.topic, partitions: 3, replicationFactor: 1 }),
    { timeout: 60_000, interval: 200 },
  );
  return admin;
}

describe.runIf(process.env['SOCKSCOPE_OLD_KAFKA'] === '1')('Apache Kafka', () => {
  test.each([
    ['2.4.1', '2.12'],
    ['3.9.2', '2.13'],
  ])('%s stores and returns produced records unchanged', async (version, scala) => {
    const kafka = await startOldKafka(version, scala);
    await withTopic(kafka);
    const producer = createKafkaProducer(kafka, { logger, role: 'test' });
    await producer.send(kafka.topic, RECORDS, AbortSignal.timeout(120_000));
    producer.stop();
    const found: string[] = [];
    await readTopic(
      { kafka, topic: kafka.topic },
      {
        onBatch({ records }) {
          while (records.next()) {
            const { key, value, headers } = records.record();
            found.push([key, value, headers[0]?.[1]].map(String).join());
          }
        },
      },
      { logger },
    );
    const sent = RECORDS.map(({ key, value, headers }) => [key, value, headers.number].join());
    expect(found.toSorted()).toEqual(sent.toSorted());
  });

  test('2.0.1 is refused in words, and nothing is sent to it', async () => {
    const kafka = await startOldKafka('2.0.1', '2.12');
    const admin = await withTopic(kafka);
    const abort = new AbortController();
    const said: string[] = [];
    const producer = createKafkaProducer(kafka, {
      logger,
      role: 'test',
      hooks: {
        onFailure(error) {
          said.push(error.message);
          abort.abort();
        },
      },
    });
    await expect(producer.send(kafka.topic, RECORDS, abort.signal)).rejects.toMatchObject({
      code: 'kafka_aborted',
    });
    producer.stop();
    expect(said[0]).toMatch(/is not supported: it supports Produce 0 to 6; needed: version 7/);
    const partitions = (await admin.describeTopic(kafka.topic)) ?? [];
    expect(partitions.map(({ endOffset }) => endOffset)).toEqual([0n, 0n, 0n]);
  });
});
