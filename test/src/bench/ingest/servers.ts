/** An ingest process of the benchmarks, with its metrics. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { guardProcess, pickFreePort } from '@sockscope/local';
import type { ClickHouseServer, KafkaBroker } from '@sockscope/local';
import { readMetric } from '../metric.js';

const INGEST = fileURLToPath(new URL('../../../../services/ingest/dist/main.js', import.meta.url));

export interface BenchIngest {
  readonly pid: number;
  /** The sum of a metric over its labels; null if there is none. */
  metric(name: string, label?: string): Promise<number | null>;
  stop(): Promise<void>;
}

/** The parameters of the process; the group has the name of the database. */
export interface BenchPlace {
  /** Null for commands that need none. */
  readonly kafka: KafkaBroker | null;
  readonly server: ClickHouseServer;
  readonly topic: string;
  readonly database: string;
  readonly env?: Readonly<Record<string, string>>;
}

function envOf({ kafka, server, topic, database, env }: BenchPlace): NodeJS.ProcessEnv {
  return {
    ...process.env,
    ...(kafka === null ? {} : { KAFKA_BROKERS: kafka.address }),
    KAFKA_TOPIC: topic,
    KAFKA_GROUP_ID: database,
    CLICKHOUSE_URL: server.url,
    CLICKHOUSE_DATABASE: database,
    LOG_LEVEL: 'warn',
    // As the image, the unit and `npm start` do.
    MALLOC_MMAP_THRESHOLD_: '262144',
    ...env,
  };
}

/** Runs a command of ingest to its end. @throws if it fails. */
export async function ingestCommand(place: BenchPlace, ...args: string[]): Promise<void> {
  const child = spawn(process.execPath, [INGEST, ...args], {
    env: envOf(place),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`ingest ${args.join(' ')} ended with ${code}`);
}

export async function startIngest(place: BenchPlace): Promise<BenchIngest> {
  const port = await pickFreePort();
  const child = spawn(process.execPath, [INGEST], {
    env: { ...envOf(place), INGEST_OPS_LISTEN: `127.0.0.1:${port}` },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('ingest did not start');
  // A benchmark that is ended early leaves no process.
  const guard = guardProcess(pid, 0);
  return {
    pid,
    metric: (name, label) => readMetric(port, name, label),
    async stop() {
      child.kill('SIGTERM');
      await once(child, 'exit');
      guard.release();
    },
  };
}
