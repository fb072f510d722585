import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { pickFreePort, startKafka } from '@sockscope/local';
import { createLogger } from '@sockscope/runtime';
import {
  consumerConfig,
  createGroupConsumer,
  createKafkaAdmin,
  kafkaConfig,
} from '@sockscope/runtime/kafka';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import { afterEach, describe, expect, test } from 'vitest';
import { allPublished, metricOf, tempDir, until } from '../chaos/support/site.js';
import { createTopic, foldOf, keyOf, keysOf, readTopic } from '../chaos/support/topic.js';
import { startWorkload } from '../chaos/support/workload.js';
import { createProxySite, startProxy } from '../support/proxy-process.js';

const TOPIC = 'sockscope.session-events.v1';
const STORE_PASSWORD = 'only-for-this-test';
const SECRET = 'right-password';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A key of its own for the broker, and the certificate that clients trust. */
function makeKey(dir: string): { keystore: string; certificate: string } {
  const keystore = join(dir, 'broker.p12');
  const certificate = join(dir, 'broker.pem');
  const common = ['-alias', 'broker', '-keystore', keystore, '-storepass', STORE_PASSWORD];
  execFileSync(
    'keytool',
    [
      '-genkeypair',
      ...common,
      '-storetype',
      'PKCS12',
      '-keyalg',
      'RSA',
      '-validity',
      '2',
      '-dname',
      'CN=localhost',
      '-ext',
      'san=ip:127.0.0.1,dns:localhost',
    ],
    { stdio: 'ignore' },
  );
  execFileSync('keytool', ['-exportcert', '-rfc', ...common, '-file', certificate], {
    stdio: 'ignore',
  });
  return { keystore, certificate };
}

function startReader(kafka: KafkaConfig) {
  let count = 0;
  const crashes: Error[] = [];
  const consumer = createGroupConsumer(
    { kafka, consumer: consumerConfig.parse({ group_id: `reader-${kafka.sasl_password}` }) },
    {
      logger: createLogger('test', { level: 'silent' }),
      sink: {
        full: () => null,
        accept({ records }) {
          while (records.next()) count += 1;
          return null;
        },
        unreadable: () => null,
      },
      events: { onCrash: (error) => crashes.push(error) },
    },
  );
  consumer.start();
  return { consumer, crashes, count: () => count };
}

describe('a Kafka with TLS and passwords', () => {
  test('is used with the right ones; with a wrong one events wait, and none is lost', async () => {
    const { dir, remove } = await tempDir('secure');
    cleanups.push(remove);
    const { keystore, certificate } = makeKey(dir);
    const [port, securePort, controllerPort] = [
      await pickFreePort(),
      await pickFreePort(),
      await pickFreePort(),
    ];
    const broker = await startKafka({
      dataDir: join(dir, 'kafka'),
      port,
      controllerPort,
      properties: {
        listeners: `PLAINTEXT://127.0.0.1:${port},SECURE://127.0.0.1:${securePort},CONTROLLER://127.0.0.1:${controllerPort}`,
        'advertised.listeners': `PLAINTEXT://127.0.0.1:${port},SECURE://127.0.0.1:${securePort}`,
        'listener.security.protocol.map':
          'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL',
        'listener.name.secure.sasl.enabled.mechanisms': 'PLAIN',
        'listener.name.secure.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required user_proxy="${SECRET}";`,
        'ssl.keystore.location': keystore,
        'ssl.keystore.password': STORE_PASSWORD,
        'ssl.keystore.type': 'PKCS12',
      },
    });
    cleanups.push(() => broker.kill());
    await createTopic([broker.address], TOPIC, 1);
    const secure = {
      KAFKA_TLS: 'true',
      KAFKA_TLS_CA_FILE: certificate,
      KAFKA_SASL_MECHANISM: 'plain',
      KAFKA_SASL_USERNAME: 'proxy',
    };
    const site = await createProxySite(`127.0.0.1:${securePort}`, secure);
    cleanups.push(() => site.remove());
    const workload = await startWorkload(site.port);
    cleanups.push(() => workload.stop());

    const stranger = await startProxy(site, {
      KAFKA_SASL_PASSWORD: 'wrong-password',
      PROXY_EVENTS_FLUSH_TIMEOUT: '0',
    });
    cleanups.push(() => stranger.kill());
    const moved = [await workload.exchange(1_000, 2_000)];
    await until('Kafka refuses', 20_000, () =>
      stranger.log.some((line) => line.includes('"code":"kafka_auth"')),
    );
    expect(stranger.log.join('\n')).not.toContain('wrong-password');
    expect(await stranger.stop()).toBe(0);
    expect(await readTopic([broker.address], TOPIC)).toEqual([]);

    const known = await startProxy(site, { KAFKA_SASL_PASSWORD: SECRET });
    cleanups.push(() => known.kill());
    moved.push(await workload.exchange(10, 20));
    await allPublished(site);
    // Two days, as makeKey sets: the alert on certificates compares this.
    const expiry = await metricOf(site, 'sockscope_certificate_expiry_timestamp_seconds');
    expect(expiry).toBeGreaterThan(Date.now() / 1_000 + 86_400);
    expect(expiry).toBeLessThan(Date.now() / 1_000 + 3 * 86_400);
    expect(await metricOf(site, 'sockscope_proxy_events_published_total')).toBeGreaterThanOrEqual(
      4,
    );
    expect(await known.stop()).toBe(0);
    // Before any reader of ours: readers change kafkajs's decoding of fetches in the whole process.
    const published = await readTopic([broker.address], TOPIC);
    const states = foldOf(published);
    expect(keysOf(states)).toEqual(
      moved.map((each) => keyOf(each.sourcePort, each.sent, each.received)).toSorted(),
    );

    // The reader of ingest, with the wrong password and the right one.
    const secureKafka = (password: string) =>
      kafkaConfig.parse({
        brokers: [`127.0.0.1:${securePort}`],
        topic: TOPIC,
        tls: true,
        tls_ca_file: certificate,
        sasl_mechanism: 'plain',
        sasl_username: 'proxy',
        sasl_password: password,
      });
    const refused = startReader(secureKafka('wrong-password'));
    cleanups.push(() => refused.consumer.stop());
    await until('the reader is refused', 20_000, () => refused.crashes.length > 0);
    expect(refused.crashes[0]).toMatchObject({ code: 'kafka_auth' });
    expect(refused.count()).toBe(0);
    const reader = startReader(secureKafka(SECRET));
    cleanups.push(() => reader.consumer.stop());
    await until('all is read', 20_000, () => reader.count() === published.length);

    // A certificate that nobody vouches for is refused by us.
    const admin = createKafkaAdmin(
      kafkaConfig.parse({ brokers: [`127.0.0.1:${securePort}`], tls: true }),
      { logger: createLogger('test', { level: 'silent' }), role: 'test' },
    );
    await expect(admin.ping()).rejects.toThrow(/self-signed/);
    await admin.stop();
  });
});
