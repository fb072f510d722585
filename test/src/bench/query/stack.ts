import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pickFreePort, startClickHouse } from '@sockscope/local';
import { clickhouseConfig, createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { generateSessions, insertUnmerged, stopMerges } from './generate.js';
import type { DataShape } from './generate.js';
import { createHttpClient } from './http.js';
import type { HttpClient } from './http.js';

const serviceMain = (service: string) =>
  fileURLToPath(new URL(`../../../../services/${service}/dist/main.js`, import.meta.url));
const READY_TIMEOUT_MS = 60_000;
const CLICKHOUSE_MEMORY_MIB = 8_192;
/** The generated data must not expire, whenever it is used again. */
const PERMANENT = { RETENTION_TRAFFIC: '0', RETENTION_EVENTS: '0', RETENTION_PAIRS_HOURS: '0' };

/** Grows when the generated rows change. */
const GENERATOR = 3;

export interface Stack {
  readonly shape: DataShape;
  readonly clickhouse: ClickHouse;
  readonly clickhouseUrl: string;
  /** Processes whose CPU time is measured. `query` has its default settings. */
  readonly pids: { readonly clickhouse: number; readonly query: number };
  /** Answers every question from the tables. */
  readonly api: HttpClient;
  /** Its metrics. */
  readonly ops: HttpClient;
  /** Client of the service with its default settings. */
  readonly apiAsShipped: HttpClient;
  stop(): Promise<void>;
}

function run(main: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${main} ${args.join(' ')} ended with ${code}`));
    });
  });
}

/**
 * A ClickHouse with generated data and the real query service before it.
 *
 * @param dir folder of the data; data of an earlier run is used again.
 */
export async function startStack(
  dir: string,
  wanted: Omit<DataShape, 'nowMs'>,
  say: (text: string) => void,
): Promise<Stack> {
  await mkdir(dir, { recursive: true });
  const server = await startClickHouse({ dataDir: dir, memoryMiB: CLICKHOUSE_MEMORY_MIB });
  const env = { CLICKHOUSE_URL: server.url, ...PERMANENT };
  const clickhouse = createClickHouse(
    clickhouseConfig.parse({ url: server.url, timeout_ms: 600_000 }),
  );
  try {
    await run(serviceMain('ingest'), ['migrate'], env);
    const shape = await fill(dir, wanted, { clickhouse, env }, say);
    await stopMerges(clickhouse);
    // As ingest would have written it down: nothing has come since the end of the data.
    await clickhouse.command({
      sql: `INSERT INTO ingest_watermarks (topic, partition, watermark, next_offset, caught_up)
        SELECT 'bench', 0, fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC'), 0, 1`,
      params: { now_ms: shape.nowMs },
    });
    const [service, asShipped] = await Promise.all([
      startQuery(server.url, { QUERY_REUSE: '0' }),
      startQuery(server.url, {}),
    ]);
    return {
      shape,
      clickhouse,
      clickhouseUrl: server.url,
      pids: { clickhouse: server.pid, query: asShipped.pid },
      api: service.api,
      ops: service.ops,
      apiAsShipped: asShipped.api,
      async stop() {
        await Promise.all([service.stop(), asShipped.stop()]);
        await clickhouse.close();
        await server.stop();
      },
    };
  } catch (error) {
    await clickhouse.close();
    await server.stop();
    throw error;
  }
}

interface QueryService {
  readonly pid: number;
  readonly api: HttpClient;
  readonly ops: HttpClient;
  stop(): Promise<void>;
}

async function startQuery(url: string, env: NodeJS.ProcessEnv): Promise<QueryService> {
  const [port, opsPort] = [await pickFreePort(), await pickFreePort()];
  const child = spawn(process.execPath, [serviceMain('query')], {
    env: {
      ...process.env,
      CLICKHOUSE_URL: url,
      QUERY_LISTEN: `127.0.0.1:${port}`,
      QUERY_OPS_LISTEN: `127.0.0.1:${opsPort}`,
      LOG_LEVEL: 'warn',
      ...env,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      resolve();
    });
  });
  const api = createHttpClient(`http://127.0.0.1:${port}`);
  const ops = createHttpClient(`http://127.0.0.1:${opsPort}`);
  await ready(api);
  if (child.pid === undefined) throw new Error('the query service did not start');
  return {
    pid: child.pid,
    api,
    ops,
    async stop() {
      api.close();
      ops.close();
      child.kill('SIGTERM');
      await exited;
    },
  };
}

async function fill(
  dir: string,
  wanted: Omit<DataShape, 'nowMs'>,
  { clickhouse, env }: { clickhouse: ClickHouse; env: NodeJS.ProcessEnv },
  say: (text: string) => void,
): Promise<DataShape> {
  const file = join(dir, 'shape.json');
  if (existsSync(file)) {
    const shape = JSON.parse(await readFile(file, 'utf8')) as DataShape & {
      readonly generator?: number;
    };
    if (shape.sessions !== wanted.sessions || shape.generator !== GENERATOR) {
      throw new Error(`${dir} holds other data; remove it, or take another --data`);
    }
    return shape;
  }
  const shape = { ...wanted, nowMs: lastEvening(Date.now()) };
  say(`generating ${shape.sessions.toLocaleString('en')} sessions`);
  let shown = 0;
  await generateSessions(clickhouse, shape, (done) => {
    if (done - shown < 0.1) return;
    shown = done;
    say(`  ${Math.round(done * 100)} %`);
  });
  say('computing the sums per hour and day');
  await run(serviceMain('ingest'), ['rollups', '--all', '--threads', '2'], env);
  await insertUnmerged(clickhouse, shape);
  await writeFile(file, JSON.stringify({ ...shape, generator: GENERATOR }));
  return shape;
}

/** The latest ten in the evening, UTC: "today" is long then. */
function lastEvening(nowMs: number): number {
  const [dayMs, hourMs] = [86_400_000, 3_600_000];
  return Math.floor((nowMs - 22 * hourMs) / dayMs) * dayMs + 22 * hourMs;
}

async function ready(api: HttpClient): Promise<void> {
  for (const endMs = Date.now() + READY_TIMEOUT_MS; ;) {
    try {
      if ((await api.get('/readyz')).status === 200) return;
    } catch {
      // It does not listen yet.
    }
    if (Date.now() > endMs) throw new Error('the query service is not ready in time');
    await delay(100);
  }
}
