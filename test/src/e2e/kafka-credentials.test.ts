/**
 * TLS, client certificates, passwords, tokens and permissions.
 *
 * Longer than 400 lines because one broker knows all of them and takes seconds to start.
 */
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pickFreePort, startKafka } from '@sockscope/local';
import type { KafkaBroker } from '@sockscope/local';
import { createLogger } from '@sockscope/runtime';
import {
  checkKafka,
  consumerConfig,
  createGroupConsumer,
  createKafkaAdmin,
  createKafkaProducer,
  kafkaConfig,
  PLAN_USERS,
  planAsCommands,
  planOf,
  readTopic,
} from '@sockscope/runtime/kafka';
import type { ConsumedBatch, KafkaConfig, KafkaError } from '@sockscope/runtime/kafka';
import kafkajs from 'kafkajs';
import { OAuth2Server } from 'oauth2-mock-server';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createCertificate, PASSPHRASE } from '../support/certificates.js';
import { setQuota, setScramPassword } from '../support/broker-settings.js';
import { tempDir } from '../chaos/support/site.js';
import { startWorkload } from '../chaos/support/workload.js';
import { createProxySite, startProxy } from '../support/proxy-process.js';

const WAIT = { timeout: 60_000, interval: 50 };
const SECRET = 'a-secret-with-ünïcödé';
/** Time after which brokers ask for new credentials on open connections; kafkajs renews them 10 s before. */
const REAUTH_MS = 12_000;
const TOPIC = 'events';
const logger = createLogger('test', { level: 'silent' });
const never = new AbortController().signal;

const authority = createCertificate('authority');
const nextAuthority = createCertificate('next authority');
const brokerCertificate = createCertificate('broker', authority);
const tokens = new OAuth2Server();
let dir = '';
let broker: KafkaBroker;
let start: (trusted: string) => Promise<KafkaBroker>;
let config: (settings: Record<string, unknown>) => KafkaConfig;
let v6Broker = '';
let mtls: (settings: Record<string, unknown>) => KafkaConfig;
const file = (name: string) => join(dir, name);
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  const temporary = await tempDir('credentials');
  cleanups.push(temporary.remove);
  ({ dir } = temporary);
  await tokens.issuer.keys.generate('RS256');
  await tokens.start(0, '127.0.0.1');
  cleanups.push(() => tokens.stop());
  tokens.service.on('beforeTokenSigning', (token: { payload: Record<string, unknown> }) => {
    Object.assign(token.payload, { sub: 'oauth-user', aud: 'kafka' });
  });
  const issuer = tokens.issuer.url ?? '';
  // Brokers fetch keys only from allowed addresses.
  const options = process.env['JAVA_TOOL_OPTIONS'] ?? '';
  const allowed = `-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=${issuer}/jwks`;
  process.env['JAVA_TOOL_OPTIONS'] = `${options} ${allowed}`;
  await writeFile(file('broker.pem'), `${brokerCertificate.key}${brokerCertificate.cert}`);
  await writeFile(file('ca.pem'), authority.cert);
  const [port, saslPort, mtlsPort, v6Port, controllerPort] = [
    await pickFreePort(),
    await pickFreePort(),
    await pickFreePort(),
    await pickFreePort(),
    await pickFreePort(),
  ];
  const security = 'org.apache.kafka.common.security';
  start = async (trusted) => {
    await writeFile(file('trusted.pem'), trusted);
    return startKafka({
      dataDir: file('kafka'),
      port,
      controllerPort,
      properties: {
        listeners: `PLAINTEXT://127.0.0.1:${port},SASL://127.0.0.1:${saslPort},MTLS://127.0.0.1:${mtlsPort},V6://[::1]:${v6Port},CONTROLLER://127.0.0.1:${controllerPort}`,
        'advertised.listeners': `PLAINTEXT://127.0.0.1:${port},SASL://127.0.0.1:${saslPort},MTLS://127.0.0.1:${mtlsPort},V6://[::1]:${v6Port}`,
        'listener.security.protocol.map':
          'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,V6:PLAINTEXT,SASL:SASL_SSL,MTLS:SSL',
        'listener.name.sasl.sasl.enabled.mechanisms':
          'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER',
        'listener.name.sasl.plain.sasl.jaas.config': `${security}.plain.PlainLoginModule required user_plain="secret";`,
        'listener.name.sasl.scram-sha-256.sasl.jaas.config': `${security}.scram.ScramLoginModule required;`,
        'listener.name.sasl.scram-sha-512.sasl.jaas.config': `${security}.scram.ScramLoginModule required;`,
        'listener.name.sasl.scram-sha-512.connections.max.reauth.ms': String(REAUTH_MS),
        'listener.name.sasl.oauthbearer.sasl.jaas.config': `${security}.oauthbearer.OAuthBearerLoginModule required;`,
        'listener.name.sasl.oauthbearer.sasl.server.callback.handler.class': `${security}.oauthbearer.OAuthBearerValidatorCallbackHandler`,
        'sasl.oauthbearer.jwks.endpoint.url': `${issuer}/jwks`,
        'sasl.oauthbearer.expected.issuer': issuer,
        'sasl.oauthbearer.expected.audience': 'kafka',
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users': 'User:ANONYMOUS',
        'allow.everyone.if.no.acl.found': 'true',
        'ssl.keystore.type': 'PEM',
        'ssl.keystore.location': file('broker.pem'),
        'ssl.truststore.type': 'PEM',
        'ssl.truststore.location': file('trusted.pem'),
        'listener.name.mtls.ssl.client.auth': 'required',
      },
    });
  };
  broker = await start(authority.cert);
  cleanups.push(() => broker.kill());
  for (const mechanism of ['scram-sha-256', 'scram-sha-512'] as const) {
    await setScramPassword(broker.address, 'scram', SECRET, mechanism);
  }
  const secure = (brokers: string) => (settings: Record<string, unknown>) =>
    kafkaConfig.parse({
      brokers: [brokers],
      topic: TOPIC,
      tls: true,
      tls_ca_file: file('ca.pem'),
      ...settings,
    });
  config = secure(`127.0.0.1:${saslPort}`);
  mtls = secure(`127.0.0.1:${mtlsPort}`);
  v6Broker = `[::1]:${v6Port}`;
  const admin = createKafkaAdmin(kafkaConfig.parse({ brokers: [broker.address] }), {
    logger,
    role: 'setup',
  });
  await admin.ensureTopic({ name: TOPIC, partitions: 2, replicationFactor: null });
  await admin.stop();
});
afterAll(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const oauth = (settings: Record<string, unknown> = {}) =>
  config({
    sasl_mechanism: 'oauthbearer',
    oauth_token_url: `${tokens.issuer.url}/token`,
    oauth_client_id: 'sockscope',
    oauth_client_secret: 'secret',
    ...settings,
  });

/** A producer's report of each failure, and the acknowledged records. */
function startTraffic(kafka: KafkaConfig) {
  const failures: KafkaError[] = [];
  const ended = new AbortController();
  let acknowledged = 0;
  const producer = createKafkaProducer(kafka, {
    logger,
    role: 'traffic',
    hooks: { onFailure: (error) => failures.push(error) },
  });
  const sending = (async () => {
    while (!ended.signal.aborted) {
      const value = String(acknowledged);
      await producer.send(TOPIC, [{ key: value, value, headers: {} }], never);
      acknowledged += 1;
    }
  })();
  return {
    failures,
    acknowledged: () => acknowledged,
    async stop() {
      ended.abort();
      await sending;
      producer.stop();
      return acknowledged;
    },
  };
}

/** A member of a group of its own that reads everything. */
function startReading(kafka: KafkaConfig, groupId: string) {
  const values = new Set<string>();
  const starts: string[] = [];
  const consumer = createGroupConsumer(
    { kafka, consumer: consumerConfig.parse({ group_id: groupId, fetch_max_wait_ms: 50 }) },
    {
      logger,
      sink: {
        full: () => null,
        accept(batch) {
          while (batch.records.next()) {
            const { key, value } = batch.records.record();
            values.add(`${String(key)}=${String(value)}`);
          }
          void consumer.commit([{ ...batch, offset: batch.to }]);
          return null;
        },
        unreadable: () => null,
      },
      events: { onStart: ({ reason }) => starts.push(reason) },
    },
  );
  consumer.start();
  return { consumer, values, starts };
}

const RESOURCES = {
  topic: kafkajs.AclResourceTypes.TOPIC,
  group: kafkajs.AclResourceTypes.GROUP,
};
const OPERATIONS = {
  Read: kafkajs.AclOperationTypes.READ,
  Write: kafkajs.AclOperationTypes.WRITE,
  Delete: kafkajs.AclOperationTypes.DELETE,
  DescribeConfigs: kafkajs.AclOperationTypes.DESCRIBE_CONFIGS,
};

/** Has the effect of a printed `kafka-acls` command, by its text. */
function aclsOf(command: string): kafkajs.AclEntry[] {
  const option = (name: string) => new RegExp(`--${name} (\\S+)`).exec(command)?.[1];
  const resource = option('topic') === undefined ? 'group' : 'topic';
  return [...command.matchAll(/--operation (\w+)/g)].map(([, operation]) => ({
    principal: option('allow-principal') ?? '',
    host: '*',
    resourceType: RESOURCES[resource],
    resourceName: option(resource) ?? '',
    resourcePatternType:
      option('resource-pattern-type') === 'prefixed'
        ? kafkajs.ResourcePatternTypes.PREFIXED
        : kafkajs.ResourcePatternTypes.LITERAL,
    operation: OPERATIONS[operation as keyof typeof OPERATIONS],
    permissionType: kafkajs.AclPermissionTypes.ALLOW,
  }));
}

/** Runs a real proxy with these settings, and one session, until `/readyz` shows this detail. */
async function expectProxySays(kafka: KafkaConfig, detail: string): Promise<void> {
  const site = await createProxySite(kafka.brokers.join(), {
    KAFKA_TOPIC: kafka.topic,
    KAFKA_TLS: 'true',
    KAFKA_TLS_CA_FILE: kafka.tls_ca_file,
    KAFKA_SASL_MECHANISM: kafka.sasl_mechanism,
    KAFKA_SASL_USERNAME: kafka.sasl_username,
    KAFKA_SASL_PASSWORD: kafka.sasl_password,
    PROXY_EVENTS_FLUSH_TIMEOUT: '0',
  });
  cleanups.push(() => site.remove());
  const proxy = await startProxy(site);
  const workload = await startWorkload(site.port);
  try {
    await workload.exchange(1, 1);
    await vi.waitFor(async () => {
      expect(await (await fetch(`${site.ops}/readyz`)).text()).toContain(detail);
    }, WAIT);
  } finally {
    await workload.stop();
    await proxy.stop();
  }
}

describe('credentials for Kafka', () => {
  test.each([
    ['plain', { sasl_username: 'plain', sasl_password: 'secret' }],
    ['scram-sha-256', { sasl_username: 'scram', sasl_password: SECRET }],
    ['scram-sha-512', { sasl_username: 'scram', sasl_password: SECRET }],
  ])(
    '%s: the right password works, a wrong one is an authentication problem',
    async (sasl_mechanism, settings) => {
      const admin = createKafkaAdmin(config({ sasl_mechanism, ...settings }), {
        logger,
        role: 'a',
      });
      await expect(admin.ping()).resolves.toBe(1);
      await admin.stop();
      const wrong = config({ sasl_mechanism, ...settings, sasl_password: 'wrong' });
      const stranger = createKafkaAdmin(wrong, { logger, role: 'b' });
      await expect(stranger.ping()).rejects.toMatchObject({ code: 'kafka_auth' });
      await stranger.stop();
    },
  );

  test('oauthbearer: a token of the token server works, its refusal and a rejected token are named', async () => {
    const admin = createKafkaAdmin(
      oauth({ oauth_extensions: 'logicalCluster=a,poolId=b'.split(',') }),
      {
        logger,
        role: 'a',
      },
    );
    await expect(admin.ping()).resolves.toBe(1);
    await admin.stop();

    tokens.service.once('beforeResponse', (response: { statusCode: number; body: unknown }) => {
      response.statusCode = 401;
      response.body = { error: 'invalid_client' };
    });
    const unknown = createKafkaAdmin(oauth({ oauth_client_id: 'unknown' }), { logger, role: 'b' });
    await expect(unknown.ping()).rejects.toThrow(
      /no token from .* HTTP 401 invalid_client.*KAFKA_OAUTH/,
    );
    await unknown.stop();

    tokens.service.once('beforeTokenSigning', (token: { payload: Record<string, unknown> }) => {
      Object.assign(token.payload, { aud: 'something else' });
    });
    const rejected = createKafkaAdmin(oauth({ oauth_client_id: 'other' }), { logger, role: 'c' });
    const error = await rejected.ping().catch((thrown: unknown) => thrown);
    await rejected.stop();
    expect(error).toMatchObject({ code: 'kafka_auth' });
    expect(String(error)).toContain('the broker rejects the token: {"status":"invalid_token"}');
  });

  test('mutual TLS: a certificate with an encrypted key works, a foreign one is an authentication problem', async () => {
    const client = createCertificate('client', authority);
    await writeFile(file('client.pem'), client.cert);
    await writeFile(file('client.key'), client.encryptedKey);
    await writeFile(file('passphrase'), `${PASSPHRASE}\n`);
    const settings = {
      tls_cert_file: file('client.pem'),
      tls_key_file: file('client.key'),
      tls_key_passphrase_file: file('passphrase'),
    };
    const admin = createKafkaAdmin(mtls(settings), { logger, role: 'a' });
    await expect(admin.ping()).resolves.toBe(1);
    await admin.stop();
    const foreign = createCertificate('client', nextAuthority);
    await writeFile(file('client.pem'), foreign.cert);
    await writeFile(file('client.key'), foreign.encryptedKey);
    const stranger = createKafkaAdmin(mtls(settings), { logger, role: 'b' });
    await expect(stranger.ping()).rejects.toMatchObject({ code: 'kafka_auth' });
    await stranger.stop();
  });

  test('a broker with an IPv6 address is written to and read from, and each fetch names the rack of its client', async () => {
    const require = createRequire(import.meta.url);
    const { prototype } = require('kafkajs/src/broker') as {
      prototype: { fetch(request: { rackId?: string }): Promise<unknown> };
    };
    const fetches = vi.spyOn(prototype, 'fetch');
    const kafka = kafkaConfig.parse({
      brokers: [v6Broker],
      topic: 'over-ipv6',
      client_rack: 'zone-1',
    });
    const admin = createKafkaAdmin(kafka, { logger, role: 'ipv6' });
    await admin.ensureTopic({ name: kafka.topic, partitions: 1, replicationFactor: null });
    await admin.stop();
    const producer = createKafkaProducer(kafka, { logger, role: 'ipv6' });
    await producer.send(kafka.topic, [{ key: 'a', value: 'b', headers: {} }], never);
    producer.stop();
    const reader = startReading(kafka, 'ipv6');
    await expect.poll(() => [...reader.values], WAIT).toEqual(['a=b']);
    await reader.consumer.stop();
    const racks = new Set(fetches.mock.calls.map(([{ rackId }]) => rackId));
    fetches.mockRestore();
    expect([...racks]).toEqual(['zone-1']);
  });

  test('the permissions of the plan are enough for each service and command, and without one the command that grants it is named', async () => {
    const plan = planOf({
      topic: 'planned',
      dlqTopic: 'planned.dlq',
      group: 'planned-group',
      partitions: 2,
      replicationFactor: null,
      dlqPartitions: 1,
      dlqReplicationFactor: null,
      retentionMs: 3_600_000,
    });
    const setup = createKafkaAdmin(kafkaConfig.parse({ brokers: [broker.address] }), {
      logger,
      role: 'setup',
    });
    for (const { settings, ...topic } of plan.topics) {
      await setup.ensureTopic({ ...topic, settings: { ...settings, 'compression.type': 'gzip' } });
    }
    await setup.stop();
    const raw = new kafkajs.Kafka({
      brokers: [broker.address],
      logLevel: kafkajs.logLevel.NOTHING,
    }).admin();
    await raw.connect();
    const commands = planAsCommands(plan, [broker.address]);
    expect(commands[0]).toBe(
      `kafka-topics --bootstrap-server ${broker.address} --create --if-not-exists --topic planned --partitions 2 --config retention.ms=3600000`,
    );
    const acl = commands.filter((each) => each.startsWith('kafka-acls')).flatMap(aclsOf);
    await raw.createAcls({ acl });
    await raw.disconnect();

    const as = async (user: string, topic = 'planned') => {
      await setScramPassword(broker.address, user, 'secret', 'scram-sha-512');
      return config({
        topic,
        sasl_mechanism: 'scram-sha-512',
        sasl_username: user,
        sasl_password: 'secret',
      });
    };
    /** Null, or why nothing was sent. */
    const produce = async (kafka: KafkaConfig) => {
      const abort = new AbortController();
      let why: string | null = null;
      const producer = createKafkaProducer(kafka, {
        logger,
        role: 'test',
        hooks: {
          onFailure(error) {
            // A permission takes a moment to reach the broker.
            if (Date.now() < deadlineMs && !error.message.includes('Write')) return;
            why = error.message;
            abort.abort();
          },
        },
      });
      const deadlineMs = Date.now() + 15_000;
      await producer
        .send(kafka.topic, [{ key: 'a', value: 'b', headers: {} }], abort.signal)
        .catch(() => undefined);
      producer.stop();
      return why;
    };
    expect(await produce(await as(PLAN_USERS.proxy))).toBeNull();
    expect(await produce(await as(PLAN_USERS.ingest, 'planned.dlq'))).toBeNull();
    const reader = startReading(await as(PLAN_USERS.ingest), 'planned-group');
    await expect.poll(() => [...reader.values], WAIT).toEqual(['a=b']);
    await reader.consumer.stop();
    const replayer = await as(PLAN_USERS.commands);
    expect(await produce(replayer)).toBeNull();
    let count = 0;
    const onBatch = ({ records }: ConsumedBatch) => {
      while (records.next()) count += 1;
    };
    await readTopic({ kafka: replayer, topic: 'planned.dlq' }, { onBatch }, { logger });
    expect(count).toBe(1);
    // The requests of rewind, forget and `dlq replay --purge`.
    const administration = createKafkaAdmin(replayer, { logger, role: 'commands' });
    const committed = await administration.groupOffsets('planned-group', 'planned');
    const partitions = [...(await administration.offsetsAt('planned', 0)).keys()];
    expect([...committed.keys()].every((partition) => partitions.includes(partition))).toBe(true);
    await administration.setGroupOffsets('planned-group', 'planned', new Map([[0, 0n]]));
    await expect(administration.retentionMs('planned')).resolves.toBe(3_600_000);
    await administration.deleteRecords('planned.dlq', 0, 1n);
    await administration.stop();

    // The report of `kafka check` about the service with these permissions, and about one without.
    const check = async (user: string, service: string = user) =>
      checkKafka(
        {
          kafka: await as(user),
          uses: ['consume', 'produce'],
          acls: plan.acls.filter((each) => each.user === service),
          topics: plan.topics.map((each) => ({ ...each, partitions: 3 })),
        },
        { logger },
      );
    const missing = (findings: Awaited<ReturnType<typeof check>>) =>
      findings.flatMap(({ state, text }) => (state === 'missing' ? [text] : [])).join('\n');
    // Seen with DescribeConfigs, which KAFKA_COMPRESSION=auto needs to follow the topic.
    const gzip = /settings of planned: .*compression\.type=gzip/;
    const ofProxy = await check(PLAN_USERS.proxy);
    expect(missing(ofProxy)).toBe('');
    expect(ofProxy.map(({ text }) => text).join('\n')).toMatch(gzip);
    const complete = await check(PLAN_USERS.ingest);
    expect(missing(complete)).toBe('');
    expect(complete.map(({ text }) => text).join('\n')).toMatch(gzip);
    expect(complete.map(({ text }) => text).join('\n')).toMatch(
      /topic planned: 2 partitions, 1 replicas; configured: 3 partitions$/m,
    );
    expect(complete.map(({ text }) => text).join('\n')).toContain('quotas: none for this user');
    await setQuota(broker.address, 'oauth-user', 'producer_byte_rate', 12_345);
    await setQuota(broker.address, 'somebody', 'producer_byte_rate', 54_321);
    const asAdmin = kafkaConfig.parse({
      brokers: [broker.address],
      topic: 'planned',
      sasl_username: 'oauth-user',
    });
    const seen = await checkKafka({ kafka: asAdmin, uses: [], acls: [] }, { logger });
    expect(seen.map(({ text }) => text).filter((text) => text.startsWith('quotas'))).toEqual([
      'quotas: producer_byte_rate=12345 for user oauth-user. Brokers delay clients above them',
    ]);
    const unknown = await check('stranger', PLAN_USERS.ingest);
    const refused = missing(unknown);
    expect(unknown.map(({ text }) => text).join('\n')).toMatch(
      /settings of planned are not visible: .*--operation DescribeConfigs --topic planned/,
    );
    for (const wanted of [
      '--operation Read --topic planned',
      '--operation Read --group planned-group',
      '--operation Write --topic planned.dlq',
    ]) {
      expect(refused).toContain(wanted);
    }
    const denied = startReading(await as('stranger'), 'planned-group');
    await expect.poll(() => denied.consumer.problem(), WAIT).toContain('Grant it with: kafka-acls');
    await denied.consumer.stop();

    const writeGrant = '--add --allow-principal User:stranger --operation Write --topic planned';
    expect(await produce(await as('stranger'))).toContain(writeGrant);
    await expectProxySays(await as('stranger'), writeGrant);
    expect(await produce(await as(PLAN_USERS.ingest))).toContain('TOPIC_AUTHORIZATION_FAILED');
  });

  test('a password and a certificate are rotated under traffic, and nothing is lost', async () => {
    await setScramPassword(broker.address, 'rotating', 'old', 'scram-sha-512');
    await writeFile(file('password'), 'old');
    const scram = config({
      sasl_mechanism: 'scram-sha-512',
      sasl_username: 'rotating',
      sasl_password_file: file('password'),
    });
    const before = createCertificate('client', authority);
    await writeFile(file('client.pem'), before.cert);
    await writeFile(file('client.key'), before.key);
    const certificate = mtls({
      tls_cert_file: file('client.pem'),
      tls_key_file: file('client.key'),
    });

    const reader = startReading(certificate, 'rotation');
    cleanups.push(() => reader.consumer.stop());
    const traffic = startTraffic(scram);
    await expect.poll(() => reader.values.size, WAIT).toBeGreaterThan(10);

    // The broker learns the new password first: until the file follows, events wait.
    await setScramPassword(broker.address, 'rotating', 'new', 'scram-sha-512');
    await expect
      .poll(() => traffic.failures.map(({ code }) => code), { ...WAIT, timeout: REAUTH_MS * 2 })
      .toContain('kafka_auth');
    await writeFile(file('password'), 'new\n');
    const acknowledged = traffic.acknowledged();
    await expect.poll(traffic.acknowledged, WAIT).toBeGreaterThan(acknowledged + 10);

    // The broker is started again and trusts only the authority of the new certificate.
    const after = createCertificate('client', nextAuthority);
    await writeFile(file('client.pem'), after.cert);
    await writeFile(file('client.key'), after.key);
    await broker.stop();
    broker = await start(nextAuthority.cert);
    const restarted = traffic.acknowledged();
    await expect.poll(traffic.acknowledged, WAIT).toBeGreaterThan(restarted + 10);
    const sent = await traffic.stop();
    const expected = Array.from({ length: sent }, (_, i) => `${i}=${i}`);
    await expect.poll(() => reader.values.size, WAIT).toBe(sent);
    expect([...reader.values].toSorted()).toEqual(expected.toSorted());
    // The group has kept its place: nothing began from scratch.
    expect(reader.starts.slice(2).filter((reason) => reason !== 'committed')).toEqual([]);
  });
});
