import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pickFreePort } from '@sockscope/local';
import { readMetric } from '../metric.js';
import { treeCpuSeconds } from '../proxy/processes.js';
import type { Via } from '../proxy/generator/protocol.js';

const READY_TIMEOUT_MS = 120_000;

/** The processes of the product, each with a part of its command line. */
const PROCESSES = {
  proxy: 'services/proxy/dist/main.js',
  kafka: 'kafka.Kafka',
  ingest: 'services/ingest/dist/main.js',
  clickhouse: 'clickhouse/server.mjs',
  query: 'services/query/dist/main.js',
} as const;

/** How far the proxy is behind with its events. */
export interface SpoolState {
  readonly bytes: number;
  /** Batches that Kafka has acknowledged. */
  readonly batches: number;
  /** Batches whose oldest event was older than 5 seconds. */
  readonly lateBatches: number;
}

/** Something whose processor time is measured: its processes by name. */
export interface Subject {
  readonly via: Via;
  /** Processor seconds so far, by process. */
  cpuSeconds(): Record<string, number>;
  /** The state of the spool, whose events have not reached Kafka; null for a proxy without events. */
  readonly spool: (() => Promise<SpoolState>) | null;
  stop(): Promise<void>;
}

/** Runs the whole product of a built checkout as `npm start` does, on ports and data of its own. */
export async function startProduct(checkout: string): Promise<Subject> {
  const dataDir = mkdtempSync(join(tmpdir(), 'sockscope-cost-'));
  const names = [
    'LOCAL_KAFKA_PORT',
    'LOCAL_CLICKHOUSE_HTTP_PORT',
    'PROXY_LISTEN',
    'QUERY_LISTEN',
    'PROXY_OPS_LISTEN',
    'INGEST_OPS_LISTEN',
    'QUERY_OPS_LISTEN',
  ];
  const ports = new Map<string, number>();
  for (const name of names) ports.set(name, await pickFreePort());
  const env = Object.fromEntries(
    names.map((name) => [name, `${name.endsWith('_PORT') ? '' : '127.0.0.1:'}${ports.get(name)}`]),
  );
  const child = spawn(process.execPath, [join(checkout, 'infra/local/dist/main.js')], {
    cwd: checkout,
    env: { ...process.env, ...env, LOCAL_DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const killed = (): void => void child.kill('SIGTERM');
  process.once('exit', killed);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`${checkout} was not ready in time`));
    }, READY_TIMEOUT_MS);
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('sockscope ready')) return;
      clearTimeout(timer);
      resolve();
    });
    void exited.then(() => {
      reject(new Error(`${checkout} ended before it was ready`));
    });
  });
  const opsPort = ports.get('PROXY_OPS_LISTEN') ?? 0;
  return {
    via: { host: '127.0.0.1', port: ports.get('PROXY_LISTEN') ?? 0 },
    cpuSeconds() {
      const { children } = JSON.parse(readFileSync(join(dataDir, 'running.json'), 'utf8')) as {
        children: number[];
      };
      const seconds: Record<string, number> = {};
      for (const pid of children) {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        const name = Object.entries(PROCESSES).find(([, part]) => command.includes(part))?.[0];
        const used = treeCpuSeconds([pid]) ?? 0;
        seconds[name ?? 'other'] = (seconds[name ?? 'other'] ?? 0) + used;
      }
      return seconds;
    },
    async spool() {
      const read = async (name: string, label?: string) =>
        (await readMetric(opsPort, `sockscope_proxy_${name}`, label)) ?? 0;
      const batches = await read('publish_age_seconds_count');
      const inTime = await read('publish_age_seconds_bucket', 'le="5"');
      return { bytes: await read('spool_bytes'), batches, lateBatches: batches - inTime };
    },
    async stop() {
      process.off('exit', killed);
      child.kill('SIGTERM');
      await exited;
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
