import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
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
  readonly spec?: {
    readonly template?: {
      readonly spec: {
        readonly hostNetwork?: boolean;
        readonly containers: readonly {
          readonly env?: readonly { readonly name: string }[];
          readonly securityContext: Readonly<Record<string, unknown>>;
        }[];
      };
    };
    readonly externalTrafficPolicy?: string;
  };
}

function render(...sets: string[]): Resource[] {
  const values = ['kafka.brokers={kafka:9092}', 'clickhouse.url=http://clickhouse:8123', ...sets];
  const text = execFileSync(
    helm ?? '',
    [
      'template',
      'sockscope',
      join(ROOT, 'infra/helm/sockscope'),
      '--kube-version=1.31.0',
      ...values.flatMap((value) => ['--set', value]),
    ],
    { encoding: 'utf8' },
  );
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Resource | null)
    .filter((resource) => resource !== null);
}

const EVERYTHING = [
  'kafka.secret=kafka',
  'clickhouse.secret=clickhouse',
  'proxy.exposure=service',
  'proxy.policySecret=policy',
  'proxy.service.proxyProtocol=true',
  'ingest.keda.enabled=true',
  'query.autoscaling.enabled=true',
  'query.ingress.enabled=true',
  'query.ingress.host=sockscope.example',
  'serviceMonitor.enabled=true',
];

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

  test('refuses values without a Kafka in words', () => {
    expect(() =>
      execFileSync(helm ?? '', ['template', 'x', join(ROOT, 'infra/helm/sockscope')], {
        stdio: 'pipe',
      }),
    ).toThrow(/kafka/);
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
      expect(text).toMatch(/^LABEL org\.opencontainers\.image/m);
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
