import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';

/** Files of certificates, each under the name of the setting that names it; '' if it is not set. */
export interface CertificateFiles {
  /** The service's own certificate: the first one of the file counts. */
  readonly presented: Readonly<Record<string, string>>;
  /**
   * The trusted certificates: the one that expires last counts, because a file in the middle
   * of a rotation, or the bundle of the system, holds old ones, too.
   */
  readonly trusted: Readonly<Record<string, string>>;
}

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/**
 * Shows until when the certificates in these files are valid. They are read with every scrape, so a
 * renewed one is seen without a restart; one that cannot be read counts as expired.
 */
export function measureCertificates(registry: Registry, files: CertificateFiles): void {
  const named = [
    ...Object.entries(files.presented).map(([name, path]) => ({ name, path, trusted: false })),
    ...Object.entries(files.trusted).map(([name, path]) => ({ name, path, trusted: true })),
  ].filter(({ path }) => path !== '');
  if (named.length === 0) return;
  registry.registerMetric(
    new Gauge({
      name: 'sockscope_certificate_expiry_timestamp_seconds',
      help: 'When the certificates in a file expire, by the setting that names the file; 0 if it cannot be read.',
      labelNames: ['setting'],
      registers: [],
      // Workers of a proxy read the same files.
      aggregator: 'min',
      collect() {
        for (const { name, path, trusted } of named) {
          this.set({ setting: name }, expiryOf(path, trusted));
        }
      },
    }),
  );
}

/** Seconds since 1970; 0 if the file holds no certificate that can be read. */
function expiryOf(path: string, trusted: boolean): number {
  try {
    const blocks = readFileSync(path, 'utf8').match(PEM) ?? [];
    const counted = trusted ? blocks : blocks.slice(0, 1);
    const ends = counted.map((pem) => Date.parse(new X509Certificate(pem).validTo) / 1_000);
    return Math.max(0, ...ends);
  } catch {
    return 0;
  }
}
