import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { findProgram } from '../support/programs.js';
import { readText, repositoryFiles, ROOT } from './repository.js';

const SERVICES = ['proxy', 'ingest', 'query'] as const;
const EXPOSURE_MAX = 1.5;

const systemd = findProgram('systemd-analyze');
if (systemd === null) console.warn('systemd-analyze is missing: the units are not checked by it');
const helm = findProgram('helm', '/usr/local/bin/helm');
if (helm === null) {
  console.warn(
    'helm is missing: the chart is not rendered (go install helm.sh/helm/v3/cmd/helm@v3.22.0)',
  );
}

const validator = findProgram('kubernetes-validate');
if (validator === null) {
  console.warn(
    'kubernetes-validate is missing: the chart is not held against the schemas of Kubernetes (pip install kubernetes-validate)',
  );
}

/** The settings that the configuration reference lists. */
const settings = new Set(
  [...readText('docs/reference/configuration.md').matchAll(/^\| `([A-Z0-9_]+)`/gm)].map(
    (match) => match[1] ?? '',
  ),
);
const OURS = /^(?:PROXY|INGEST|QUERY|KAFKA|CLICKHOUSE|RETENTION|LOG)_/;

/** Names in a text that look like settings of ours and are none. */
function unknownSettings(names: Iterable<string>): string[] {
  return [...new Set(names)].filter(
    (name) => OURS.test(name) && !settings.has(name) && !settings.has(name.replace(/_FILE$/, '')),
  );
}

interface Resource {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly template?: {
      readonly spec: {
        readonly hostNetwork?: boolean;
        readonly terminationGracePeriodSeconds?: number;
        readonly containers: readonly {
          readonly env?: readonly { readonly name: string; readonly value?: string }[];
          readonly securityContext: Readonly<Record<string, unknown>>;
        }[];
      };
    };
    readonly externalTrafficPolicy?: string;
  };
}

/** Values without a useful default. */
const LEAST = [
  'kafka.brokers={kafka:9092}',
  'clickhouse.url=http://clickhouse:8123',
  'proxy.policySecret=policy',
];

function template(values: readonly string[]): string {
  return execFileSync(
    helm ?? '',
    [
      'template',
      'sockscope',
      join(ROOT, 'infra/helm/sockscope'),
      '--kube-version=1.31.0',
      ...values.flatMap((value) => ['--set', value]),
    ],
    // It reports on standard error that the rules and dashboards are symbolic links.
    { encoding: 'utf8', stdio: 'pipe' },
  );
}

function render(...sets: string[]): Resource[] {
  return parseAllDocuments(template([...LEAST, ...sets]))
    .map((document) => document.toJS() as Resource | null)
    .filter((resource) => resource !== null);
}

const EVERYTHING = [
  'kafka.secret=kafka',
  'clickhouse.secret=clickhouse',
  'proxy.exposure=service',
  'proxy.service.proxyProtocol=true',
  'proxy.service.proxyProtocolNetworks={10.0.0.0/8}',
  'ingest.keda.enabled=true',
  'query.autoscaling.enabled=true',
  'query.ingress.enabled=true',
  'query.ingress.host=sockscope.example',
  'serviceMonitor.enabled=true',
  'prometheusRule.enabled=true',
  'grafanaDashboards.enabled=true',
];

describe('the environment files for the units', () => {
  test.each(SERVICES)('the example of %s is accepted by its service unchanged', (service) => {
    const file = `infra/systemd/env/${service}.env`;
    const lines = readText(file).split('\n');
    const env = lines.filter((line) => /^[A-Z]/.test(line)).map((line) => line.split(/=(.*)/));
    execFileSync(
      process.execPath,
      [join(ROOT, 'services', service, 'dist/main.js'), '--check-config'],
      { env: Object.fromEntries(env) as NodeJS.ProcessEnv, stdio: 'pipe' },
    );
    // Includes lines that are commented out.
    const names = lines.flatMap((line) => /^#?([A-Z_]+)=/.exec(line)?.[1] ?? []);
    expect(unknownSettings(names)).toEqual([]);
  });
});

describe.skipIf(systemd === null)('the systemd units', () => {
  test.each(['sockscope-proxy', 'sockscope-ingest', 'sockscope-query', 'sockscope-migrate'])(
    '%s is exposed at most 1.5 of 10',
    (unit) => {
      const file = join(ROOT, 'infra/systemd', `${unit}.service`);
      const report = execFileSync(systemd ?? '', ['security', '--offline=true', file], {
        encoding: 'utf8',
        env: { ...process.env, SYSTEMD_COLORS: '0' },
      });
      const exposure = /Overall exposure level for .*: ([\d.]+)/.exec(report)?.[1];
      expect(Number(exposure)).toBeLessThanOrEqual(EXPOSURE_MAX);
    },
  );
});

test.skipIf(systemd === null)('systemd finds nothing wrong with the units', () => {
  const units = repositoryFiles('infra/systemd/*.service').map((file) => join(ROOT, file));
  const { stderr } = spawnSync(systemd ?? '', ['verify', '--man=no', ...units], {
    encoding: 'utf8',
  });
  // Only the program that a unit starts may be missing here.
  const lines = stderr.split('\n').filter((line) => line.includes('sockscope'));
  expect(lines.filter((line) => !line.includes('/usr/bin/node'))).toEqual([]);
});

describe.skipIf(helm === null)('the chart', () => {
  test('gives every container of ours a read-only root, no capability and no other user than 1000', () => {
    const containers = [...render(), ...render(...EVERYTHING)].flatMap(
      (resource) => resource.spec?.template?.spec.containers ?? [],
    );
    expect(containers.length).toBeGreaterThan(0);
    for (const { securityContext } of containers) {
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    }
  });

  test('keeps client addresses true: by the network of the host, or by a Service that keeps the source', () => {
    const proxy = render().find(({ kind }) => kind === 'StatefulSet');
    expect(proxy?.spec?.template?.spec.hostNetwork).toBe(true);
    const service = render(...EVERYTHING).find(
      ({ kind, metadata }) => kind === 'Service' && metadata.name === 'sockscope-proxy',
    );
    expect(service?.spec?.externalTrafficPolicy).toBe('Local');
  });

  test('sets no setting that the services do not have', () => {
    const names = [...render(), ...render(...EVERYTHING)].flatMap((resource) =>
      (resource.spec?.template?.spec.containers ?? []).flatMap(({ env = [] }) =>
        env.map(({ name }) => name),
      ),
    );
    expect(unknownSettings(names)).toEqual([]);
  });

  test.each([
    ['without a Kafka', [], /kafka/],
    [
      'for a proxy that takes every client without a setting for it',
      LEAST.slice(0, 2),
      /policySecret/,
    ],
    [
      'for a balancer whose networks nobody named',
      [...LEAST, 'proxy.exposure=service', 'proxy.service.proxyProtocol=true'],
      /proxyProtocolNetworks/,
    ],
  ])('refuses in words values %s', (_what, values, message) => {
    expect(() => template(values)).toThrow(message);
  });

  test('carries the rules and dashboards as they are', () => {
    const resources = render(...EVERYTHING);
    const rules = resources.find(({ kind }) => kind === 'PrometheusRule');
    expect(rules?.spec).toEqual(parse(readText('infra/prometheus/rules/sockscope.yaml')));
    const dashboards = resources.flatMap(({ kind, data }) =>
      kind === 'ConfigMap' ? Object.values(data ?? {}) : [],
    );
    const files = repositoryFiles('infra/grafana/dashboards/*').map((file) =>
      readText(file).trim(),
    );
    expect(dashboards.map((text) => text.trim()).toSorted()).toEqual(files.toSorted());
  });

  test('gives a pod more time to end than its sessions have, and the proxy the same times', () => {
    const pod = render('proxy.drainSeconds=90').find(({ kind }) => kind === 'StatefulSet')?.spec
      ?.template?.spec;
    const env = new Map(pod?.containers[0]?.env?.map(({ name, value }) => [name, value]));
    expect(env.get('PROXY_DRAIN_TIMEOUT')).toBe('90s');
    expect(env.get('PROXY_SHUTDOWN_DEADLINE')).toBe('115s');
    expect(pod?.terminationGracePeriodSeconds).toBe(135);
  });

  test.skipIf(validator === null)('is valid for Kubernetes, as far as there are schemas', () => {
    for (const sets of [LEAST, [...LEAST, ...EVERYTHING]]) {
      const file = join(mkdtempSync(join(tmpdir(), 'sockscope-chart-')), 'rendered.yaml');
      writeFileSync(file, template(sets));
      const report = execFileSync(validator ?? '', ['--strict', '-k', '1.37', file], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
      rmSync(dirname(file), { recursive: true });
      expect(report).not.toMatch(/^ERROR/m);
    }
  });
});

describe('the images and the compose file', () => {
  test.each(SERVICES)(
    'the image of %s runs as user 1000 on Node 26 and has a health check',
    (service) => {
      const text = readText(`infra/docker/${service}.Dockerfile`);
      expect(text).toMatch(/^ARG NODE=docker\.io\/library\/node:26-/m);
      expect(text).toMatch(/^USER 1000:1000$/m);
      expect(text).toMatch(/^HEALTHCHECK /m);
      const { version } = JSON.parse(readText('package.json')) as { version: string };
      expect(text).toMatch(/^LABEL org\.opencontainers\.image/m);
      expect(text).toContain(`org.opencontainers.image.version="${version}"`);
    },
  );

  test('the compose file sets no setting that the services do not have, and names an image of ours or a Dockerfile', () => {
    const compose = parse(readText('infra/docker/compose.yaml'), { merge: true }) as {
      services: Record<
        string,
        { build?: { dockerfile: string }; image?: string; environment?: Record<string, string> }
      >;
    };
    const services = Object.entries(compose.services);
    const ours = services.filter(([, { image }]) => image?.startsWith('sockscope/') === true);
    expect(ours.map(([name]) => name).toSorted()).toEqual(['ingest', 'migrate', 'proxy', 'query']);
    const names = ours.flatMap(([, { environment = {} }]) => Object.keys(environment));
    expect(unknownSettings(names)).toEqual([]);
    const files = new Set(repositoryFiles('infra/docker/*'));
    for (const [, { build }] of services) {
      if (build !== undefined) expect(files).toContain(build.dockerfile);
    }
  });
});
