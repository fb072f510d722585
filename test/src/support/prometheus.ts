import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pickFreePort } from '@sockscope/local';
import { stringify } from 'yaml';
import { findProgram } from './programs.js';
import { RULES_DIR } from './watching.js';

export const prometheusProgram = findProgram('prometheus');
export const promtoolProgram = findProgram('promtool');

export interface Prometheus {
  /** The samples of an instant query; empty if no series answers. */
  ask(expr: string): Promise<readonly unknown[]>;
  /** Names of rules whose last evaluation failed. */
  failedRules(): Promise<string[]>;
  stop(): Promise<void>;
}

/** A real Prometheus with our rules, which scrapes these addresses once a second. */
export async function startPrometheus(
  targets: Readonly<Record<string, string>>,
): Promise<Prometheus> {
  const dir = await mkdtemp(join(tmpdir(), 'sockscope-prometheus-'));
  const listen = `127.0.0.1:${await pickFreePort()}`;
  const file = join(dir, 'prometheus.yaml');
  await writeFile(
    file,
    stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [join(RULES_DIR, '*.yaml')],
      scrape_configs: Object.entries(targets).map(([job, address]) => ({
        job_name: job,
        static_configs: [{ targets: [address.replace('http://', '')] }],
      })),
    }),
  );
  const child: ChildProcess = spawn(
    prometheusProgram ?? '',
    [`--config.file=${file}`, `--storage.tsdb.path=${dir}/data`, `--web.listen-address=${listen}`],
    { stdio: 'ignore' },
  );
  const exited = once(child, 'exit');

  async function get<T>(path: string): Promise<T> {
    const response = await fetch(`http://${listen}/api/v1/${path}`);
    const body = (await response.json()) as { status: string; error?: string; data: T };
    if (body.status !== 'success') throw new Error(`${path}: ${body.error ?? response.status}`);
    return body.data;
  }

  return {
    async ask(expr) {
      const query = new URLSearchParams({ query: expr }).toString();
      return (await get<{ result: unknown[] }>(`query?${query}`)).result;
    },
    async failedRules() {
      const { groups } = await get<{
        groups: { rules: { name: string; health: string }[] }[];
      }>('rules');
      return groups
        .flatMap(({ rules }) => rules)
        .filter(({ health }) => health !== 'ok')
        .map(({ name }) => name);
    },
    async stop() {
      child.kill('SIGTERM');
      await exited;
      await rm(dir, { recursive: true, force: true });
    },
  };
}
