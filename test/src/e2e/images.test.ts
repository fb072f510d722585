/**
 * The images, built from the Dockerfiles and run as production runs them: read-only, as user 1000, without
 * capabilities. Takes minutes and needs root, so it runs with SOCKSCOPE_IMAGES=1 only.
 *
 * Longer than 400 lines because all ways to run the images use the same Kafka and ClickHouse.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  type ClickHouseServer,
  type KafkaBroker,
  pickFreePort,
  startClickHouse,
  startKafka,
} from '@sockscope/local';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import { createCertificate } from '../support/certificates.js';
import { curl, type CurlReport } from '../support/curl.js';
import { type Origin, startOrigin } from '../support/origin.js';
import { findProgram } from '../support/programs.js';
import { setScramPassword } from '../support/broker-settings.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const SCRIPT = join(ROOT, 'infra/ci/images.sh');
const SERVICES = ['ingest', 'query', 'proxy'] as const;
type Service = (typeof SERVICES)[number];
const PASSWORD = 'only-for-this-test';
const WAIT = { timeout: 120_000, interval: 200 };
const BUILD_TIMEOUT_MS = 1_200_000;
/** The largest node_modules of an image. */
const MODULES_MAX_MB = 60;
/** Loopback, and podman's own network. */
const ACL =
  'default: allow\nrules:\n  - { name: local, action: allow, destinations: [127.0.0.0/8, 10.88.0.0/16] }\n';

const isWanted = process.env['SOCKSCOPE_IMAGES'] === '1';
const missing = ['buildah', 'podman', 'crun', 'mmdebstrap', 'curl'].filter(
  (name) => findProgram(name) === null,
);
if (!isWanted) console.warn('images are built and run with SOCKSCOPE_IMAGES=1 only');
else if (missing.length > 0) console.warn(`images are not tested: missing ${missing.join(', ')}`);
const helm = findProgram('helm', '/usr/local/bin/helm');
const hasPods = helm !== null && findProgram('catatonit') !== null;
if (isWanted && !hasPods) console.warn('helm or catatonit is missing: the pods are not run');

const compose = findProgram('podman-compose');
if (isWanted && compose === null) {
  console.warn(
    'podman-compose is missing: the compose file is not run (pip install podman-compose)',
  );
}

const run = promisify(execFile);
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string;
};
const image = (service: Service): string => `localhost/sockscope/${service}:${version}`;

async function podman(...args: string[]): Promise<string> {
  try {
    return (await run(SCRIPT, ['podman', ...args], { maxBuffer: 16 * 1024 ** 2 })).stdout.trim();
  } catch (error) {
    // A check that fails explains it on its standard output.
    const { message, stdout } = error as Error & { stdout?: string };
    throw new Error(`${message}\n${stdout ?? ''}`, { cause: error });
  }
}

interface Pod {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: {
          readonly name: string;
          env: { name: string; value?: string }[];
          readonly [field: string]: unknown;
        }[];
        readonly volumes: { readonly name: string; readonly [kind: string]: unknown }[];
        readonly [field: string]: unknown;
      };
    };
  };
}

describe.skipIf(!isWanted || missing.length > 0)('the images', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-images-'));
  const secrets = join(dir, 'secrets');
  let kafka: KafkaBroker;
  let clickhouse: ClickHouseServer;
  let origin: Origin;
  let env: Record<Service, Record<string, string>>;
  let ports: Record<'socks' | 'api' | 'bridged' | Service, number>;
  const containers: string[] = [];

  beforeAll(async () => {
    await run(SCRIPT, ['base']);
    await run(SCRIPT, ['build'], { maxBuffer: 64 * 1024 ** 2 });
    await mkdir(secrets);
    const certificate = createCertificate('broker');
    await writeFile(join(dir, 'broker.pem'), `${certificate.key}${certificate.cert}`);
    await writeFile(join(secrets, 'ca.pem'), certificate.cert);
    await writeFile(join(secrets, 'password'), PASSWORD);
    await writeFile(join(secrets, 'acl.yaml'), ACL);
    // The containers run as another user.
    await chmod(dir, 0o755);
    const [plain, sasl, controllerPort] = [
      await pickFreePort(),
      await pickFreePort(),
      await pickFreePort(),
    ];
    kafka = await startKafka({
      dataDir: join(dir, 'kafka'),
      port: plain,
      controllerPort,
      properties: {
        listeners: `PLAINTEXT://127.0.0.1:${plain},SASL://127.0.0.1:${sasl},CONTROLLER://127.0.0.1:${controllerPort}`,
        'advertised.listeners': `PLAINTEXT://127.0.0.1:${plain},SASL://127.0.0.1:${sasl}`,
        'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL',
        'listener.name.sasl.sasl.enabled.mechanisms': 'SCRAM-SHA-512',
        'listener.name.sasl.scram-sha-512.sasl.jaas.config':
          'org.apache.kafka.common.security.scram.ScramLoginModule required;',
        'ssl.keystore.type': 'PEM',
        'ssl.keystore.location': join(dir, 'broker.pem'),
      },
    });
    await setScramPassword(kafka.address, 'sockscope', PASSWORD, 'scram-sha-512');
    clickhouse = await startClickHouse({ dataDir: join(dir, 'clickhouse') });
    origin = await startOrigin();
    ports = {
      socks: await pickFreePort(),
      api: await pickFreePort(),
      bridged: await pickFreePort(),
      proxy: await pickFreePort(),
      ingest: await pickFreePort(),
      query: await pickFreePort(),
    };
    const kafkaEnv = {
      KAFKA_BROKERS: `127.0.0.1:${sasl}`,
      KAFKA_TLS: 'true',
      KAFKA_TLS_CA_FILE: '/etc/sockscope/kafka/ca.pem',
      KAFKA_SASL_MECHANISM: 'scram-sha-512',
      KAFKA_SASL_USERNAME: 'sockscope',
      KAFKA_SASL_PASSWORD_FILE: '/etc/sockscope/kafka/password',
    };
    env = {
      ingest: {
        ...kafkaEnv,
        CLICKHOUSE_URL: clickhouse.url,
        INGEST_OPS_LISTEN: `127.0.0.1:${ports.ingest}`,
      },
      query: {
        CLICKHOUSE_URL: clickhouse.url,
        QUERY_AUTH: 'api_keys',
        QUERY_LISTEN: `127.0.0.1:${ports.api}`,
        QUERY_OPS_LISTEN: `127.0.0.1:${ports.query}`,
      },
      proxy: {
        ...kafkaEnv,
        PROXY_ACL_FILE: '/etc/sockscope/policy/acl.yaml',
        PROXY_LISTEN: `127.0.0.1:${ports.socks}`,
        PROXY_OPS_LISTEN: `127.0.0.1:${ports.proxy}`,
      },
    };
  }, BUILD_TIMEOUT_MS);

  afterAll(async () => {
    for (const name of new Set(containers)) {
      await podman('rm', '--force', '--time', '0', name).catch(() => undefined);
      await podman('volume', 'rm', '--force', name).catch(() => undefined);
    }
    await origin.stop();
    await Promise.all([kafka.stop(), clickhouse.stop()]);
    rmSync(dir, { recursive: true, force: true });
  }, 120_000);

  function argumentsOf(service: Service, network = 'host', changed = env[service]): string[] {
    return [
      '--read-only',
      '--cap-drop=all',
      '--security-opt=no-new-privileges',
      `--network=${network}`,
      `--volume=${secrets}:/etc/sockscope/kafka:ro`,
      `--volume=${secrets}:/etc/sockscope/policy:ro`,
      ...Object.entries(changed).map(([name, value]) => `--env=${name}=${value}`),
    ];
  }

  async function startContainer(name: string, ...args: string[]): Promise<void> {
    containers.push(name);
    await podman('run', '--detach', '--name', name, ...args);
  }

  async function start(service: Service): Promise<string> {
    const name = `sockscope-${service}-${process.pid}`;
    // As the compose file does: the spool is all that is written.
    const spool = service === 'proxy' ? [`--volume=${name}:/var/lib/sockscope`] : [];
    await startContainer(name, ...argumentsOf(service), ...spool, image(service));
    await ready(service);
    return name;
  }

  const ready = (service: Service) =>
    vi.waitFor(async () => {
      const response = await fetch(`http://127.0.0.1:${ports[service]}/readyz`);
      expect({ status: response.status, body: await response.text() }).toMatchObject({
        status: 200,
      });
    }, WAIT);

  const command = (service: Service, ...args: string[]) =>
    podman('run', '--rm', ...argumentsOf(service), image(service), ...args);

  async function expectCounted(): Promise<void> {
    const report = await curl(
      `127.0.0.1:${ports.socks}`,
      `http://127.0.0.1:${origin.port}/bytes/300000`,
    );
    expect(report).toMatchObject({ exitCode: 0, size_download: 300_000 });
    // Nothing stands between: the network is the host's.
    await expectNewest({
      ...totalsOf(report),
      source_ip: '127.0.0.1',
      egress_ip: origin.peers.at(-1)?.ip,
      egress_port: origin.peers.at(-1)?.port,
    });
  }

  let sessions = 0;
  /** Waits until the API has one session more and the newest one is this. */
  async function expectNewest(newest: object): Promise<void> {
    sessions += 1;
    await vi.waitFor(async () => {
      const response = await fetch(`http://127.0.0.1:${ports.api}/api/v1/sessions`, {
        headers: { 'x-api-key': key },
      });
      expect(response.status).toBe(200);
      const { items } = (await response.json()) as { items: readonly object[] };
      expect(items).toHaveLength(sessions);
      expect(items[0]).toMatchObject({ status: 'closed', ...newest });
    }, WAIT);
  }

  let key = '';

  test('have at most 60 MB of modules over their base', async () => {
    for (const service of SERVICES) {
      const list =
        'du -scm --apparent-size /app/node_modules $(ls -d /app/services/*/node_modules)';
      const text = await podman('run', '--rm', '--entrypoint=sh', image(service), '-c', list);
      const megabytes = Number(/^(\d+)\s+total$/m.exec(text)?.[1]);
      console.warn(`modules of ${service}: ${megabytes} MB`);
      expect(megabytes).toBeLessThanOrEqual(MODULES_MAX_MB);
    }
  }, 120_000);

  test('have descriptive labels', async () => {
    for (const service of SERVICES) {
      const labels = await podman('inspect', '--format={{json .Labels}}', image(service));
      expect(JSON.parse(labels)).toMatchObject({
        'org.opencontainers.image.title': `sockscope-${service}`,
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.licenses': 'MIT',
      });
    }
  });

  test('carry a session through SASL_SSL to the API, read-only, as user 1000 without capabilities', async () => {
    await command('ingest', 'topics', 'ensure');
    await command('ingest', 'migrate');
    expect(await command('ingest', 'kafka', 'check')).not.toContain('missing');
    key =
      /ssk_\S+/.exec(
        await command('query', 'keys', 'create', '--name', 'test', '--scope', 'read'),
      )?.[0] ?? '';
    const names = [await start('ingest'), await start('query'), await start('proxy')];
    await expectCounted();
    for (const name of names) {
      const pid = await podman('inspect', '--format={{.State.Pid}}', name);
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      expect(status).toMatch(/^Uid:\s+1000\s+1000\s+1000\s+1000$/m);
      expect(status).toMatch(/^CapEff:\s+0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
      // The first mount is the root.
      expect(readFileSync(`/proc/${pid}/mounts`, 'utf8')).toMatch(/^\S+ \/ \S+ ro,/m);
    }
    // Podman's own format of images knows no health check.
    for (const [index, name] of names.entries()) {
      const file = readFileSync(join(ROOT, `infra/docker/${SERVICES[index]}.Dockerfile`), 'utf8');
      const health = /^HEALTHCHECK .*\\\n +CMD (.*)$/m.exec(file)?.[1] ?? '';
      await podman('exec', name, ...(JSON.parse(health) as string[]));
    }
  }, 300_000);

  test('behind a bridge record the bridge for a client on loopback, and the container as egress', async () => {
    const name = `sockscope-bridged-${process.pid}`;
    const spool = `--volume=${name}:/var/lib/sockscope`;
    // Kafka cannot be reached from there, so the events wait in the spool.
    const bridged = {
      ...env.proxy,
      PROXY_ID: 'bridged',
      PROXY_LISTEN: '0.0.0.0:1080',
      PROXY_OPS_LISTEN: '127.0.0.1:9101',
      PROXY_EVENTS_FLUSH_TIMEOUT: '0',
    };
    await startContainer(
      name,
      `--publish=127.0.0.1:${ports.bridged}:1080`,
      ...argumentsOf('proxy', 'podman', bridged),
      spool,
      image('proxy'),
    );
    const [address = '', gateway = ''] = (
      await podman(
        'inspect',
        '--format={{.NetworkSettings.IPAddress}} {{.NetworkSettings.Gateway}}',
        name,
      )
    ).split(' ');
    const near = await startOrigin(gateway);
    const report = await vi.waitFor(async () => {
      const url = `http://${gateway}:${near.port}/bytes/1000`;
      const got = await curl(`127.0.0.1:${ports.bridged}`, url);
      expect(got).toMatchObject({ exitCode: 0, size_download: 1_000 });
      return got;
    }, WAIT);
    const peer = near.peers.at(-1);
    await near.stop();
    await podman('stop', '--time', '60', name);
    await podman('rm', name);
    // The next proxy with that volume publishes them.
    const after = { ...env.proxy, PROXY_ID: 'bridged', PROXY_LISTEN: '127.0.0.1:0' };
    await startContainer(
      name,
      ...argumentsOf('proxy', 'host', { ...after, PROXY_OPS_LISTEN: '127.0.0.1:0' }),
      spool,
      image('proxy'),
    );
    expect(peer?.ip).toBe(address);
    await expectNewest({
      ...totalsOf(report),
      source_ip: gateway,
      egress_ip: address,
      egress_port: peer?.port,
    });
  }, 300_000);

  test('end in order with exit code 0', async () => {
    for (const name of containers.toReversed()) {
      await podman('stop', '--time', '60', name);
      expect(await podman('inspect', '--format={{.State.ExitCode}}', name)).toBe('0');
    }
  }, 120_000);

  test.skipIf(!hasPods)(
    'run as the pods that the chart renders',
    async () => {
      const rendered = execFileSync(
        helm ?? '',
        [
          'template',
          'sockscope',
          join(ROOT, 'infra/helm/sockscope'),
          '--kube-version=1.31.0',
          ...[
            'image.registry=localhost',
            `kafka.brokers={${env.proxy['KAFKA_BROKERS'] ?? ''}}`,
            `clickhouse.url=${clickhouse.url}`,
            'kafka.secret=kafka',
            'proxy.policySecret=policy',
            'proxy.policyKeys={acl.yaml}',
            'migrate.enabled=false',
          ].flatMap((value) => ['--set', value]),
        ],
        { encoding: 'utf8', stdio: 'pipe' },
      );
      const pods = parseAllDocuments(rendered)
        .map((document) => document.toJS() as Pod | null)
        .filter((pod) => pod?.kind === 'Deployment' || pod?.kind === 'StatefulSet')
        .map((pod) => podOf(pod as Pod));
      expect(pods).toHaveLength(3);
      const file = join(dir, 'pods.yaml');
      await writeFile(file, pods.map((pod) => stringify(pod)).join('---\n'));
      try {
        await podman('play', 'kube', file);
        await Promise.all(SERVICES.map(ready));
        await expectCounted();
      } finally {
        await podman('play', 'kube', '--down', file);
      }
    },
    300_000,
  );

  test.skipIf(compose === null)(
    'run as services of the compose file',
    async () => {
      const programs = join(dir, 'bin');
      await mkdir(programs);
      await writeFile(
        join(programs, 'podman'),
        `#!/bin/sh\nPATH='${process.env['PATH'] ?? ''}' exec ${SCRIPT} podman "$@"\n`,
      );
      await chmod(join(programs, 'podman'), 0o755);
      const override = join(dir, 'override.yaml');
      const files = ['kafka', 'policy'].map((name) => `${secrets}:/etc/sockscope/${name}:ro`);
      const services = (['migrate', ...SERVICES] as const).map((service) => [
        service,
        // Kafka and ClickHouse belong to this test, because no image of them is available.
        {
          network_mode: 'host',
          environment: {
            ...env[service === 'migrate' ? 'ingest' : service],
            CLICKHOUSE_USER: 'default',
            CLICKHOUSE_PASSWORD: '',
          },
          volumes: files,
        },
      ]);
      await writeFile(override, stringify({ services: Object.fromEntries(services) as unknown }));
      const composed = (...args: string[]) =>
        run(
          compose ?? '',
          ['-f', join(ROOT, 'infra/docker/compose.yaml'), '-f', override, ...args],
          { env: { ...process.env, PATH: `${programs}:${process.env['PATH'] ?? ''}` } },
        );
      try {
        await composed('run', '--rm', '--no-deps', 'migrate');
        await composed('up', '--detach', '--no-build', '--no-deps', ...SERVICES);
        await Promise.all(SERVICES.map(ready));
        await expectCounted();
        const names = await podman('ps', '--format={{.Names}}');
        expect(names.match(/^sockscope[-_](?:ingest|query|proxy)/gm)).toHaveLength(3);
      } finally {
        await composed('down', '--timeout', '60', '--volumes');
      }
    },
    300_000,
  );

  /** Settings that podman needs differently: files instead of secrets, free ports, no curl for probes. */
  function podOf(pod: Pod): unknown {
    const service = pod.metadata.labels['app.kubernetes.io/component'] as Service;
    const { spec } = pod.spec.template;
    const claims = service === 'proxy' ? [{ name: 'spool', emptyDir: {} }] : [];
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `${pod.metadata.name}-pod-${process.pid}`, labels: pod.metadata.labels },
      spec: {
        ...spec,
        hostNetwork: true,
        affinity: undefined,
        containers: spec.containers.map((container) => ({
          ...container,
          livenessProbe: undefined,
          readinessProbe: undefined,
          lifecycle: undefined,
          ports: undefined,
          env: [
            ...container.env.filter(({ name }) => !(name in env[service])),
            ...Object.entries(env[service]).map(([name, value]) => ({ name, value })),
          ],
        })),
        volumes: [
          ...spec.volumes.map((volume) =>
            'secret' in volume
              ? { name: volume.name, hostPath: { path: secrets, type: 'Directory' } }
              : volume,
          ),
          ...claims,
        ],
      },
    };
  }
});

function totalsOf(report: CurlReport): { bytes_sent: number; bytes_received: number } {
  return {
    bytes_sent: report.size_request + report.size_upload,
    bytes_received: report.size_header + report.size_download,
  };
}
