import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pickFreePort } from '@sockscope/local';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const READY_TIMEOUT_MS = 240_000;
const CLOSED_AFTER_MS = 5_000;
const MAX_OUTPUT_LINES = 2_000;

/** Ports and data of one copy, kept over its restarts. */
export interface ProductSite {
  readonly dataDir: string;
  readonly socks: string;
  readonly api: string;
  readonly proxyOps: string;
  readonly ingestOps: string;
  readonly queryOps: string;
  readonly kafka: string;
  readonly clickhouse: string;
  readonly env: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

export async function createProductSite(): Promise<ProductSite> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sockscope-e2e-'));
  const address = async (): Promise<string> => `127.0.0.1:${await pickFreePort()}`;
  const [socks, query, proxyOps, ingestOps, queryOps, kafka, clickhouse] = [
    await address(),
    await address(),
    await address(),
    await address(),
    await address(),
    await address(),
    await address(),
  ];
  return {
    dataDir,
    socks,
    api: `http://${query}`,
    proxyOps: `http://${proxyOps}`,
    ingestOps: `http://${ingestOps}`,
    queryOps: `http://${queryOps}`,
    kafka,
    clickhouse: `http://${clickhouse}`,
    env: {
      LOCAL_DATA_DIR: dataDir,
      // Beside other tests, a process with lower priority would starve.
      LOCAL_NICENESS: '0',
      LOCAL_KAFKA_PORT: portOf(kafka),
      LOCAL_CLICKHOUSE_HTTP_PORT: portOf(clickhouse),
      PROXY_LISTEN: socks,
      QUERY_LISTEN: query,
      PROXY_OPS_LISTEN: proxyOps,
      INGEST_OPS_LISTEN: ingestOps,
      QUERY_OPS_LISTEN: queryOps,
    },
    remove: () => rm(dataDir, { recursive: true, force: true }),
  };
}

function portOf(address: string): string {
  return address.slice(address.lastIndexOf(':') + 1);
}

export interface Product {
  /** npm's. */
  readonly pid: number;
  /** Its output, oldest first. */
  readonly lines: readonly string[];
  /** Resolves with the exit code, or the signal's name. */
  readonly exited: Promise<number | NodeJS.Signals | null>;
  /** Resolves when a line of the output matches; rejects when the product ends before. */
  waitForLine(pattern: RegExp, timeoutMs: number): Promise<string>;
  /** Sends SIGINT as a terminal does on Ctrl-C: to npm and to all that it runs in the foreground. */
  pressCtrlC(): void;
  /** The processes that the supervisor has started: Kafka, ClickHouse and the services. */
  children(): Promise<number[]>;
}

/** Runs `npm start` as a person would, on the ports and data of a site. */
export function runProduct(site: ProductSite, env: Readonly<Record<string, string>> = {}): Product {
  const child = spawn('npm', ['start'], {
    cwd: ROOT,
    env: { ...withoutNpm(process.env), ...site.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const lines: string[] = [];
  const listeners = new Set<() => void>();
  let ended: number | NodeJS.Signals | null | undefined;
  let rest = '';
  function take(chunk: Buffer): void {
    const parts = (rest + chunk.toString('utf8')).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
    lines.splice(0, lines.length - MAX_OUTPUT_LINES);
    for (const listener of listeners) listener();
  }
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  const closed = once(child, 'close');
  const exited = once(child, 'exit').then(async ([code, signal]) => {
    // Its last lines come after its exit.
    await Promise.race([closed, delay(CLOSED_AFTER_MS, undefined, { ref: false })]);
    ended = (code as number | null) ?? (signal as NodeJS.Signals | null);
    for (const listener of listeners) listener();
    return ended;
  });
  const pid = child.pid ?? 0;

  return {
    pid,
    lines,
    exited,
    waitForLine(pattern, timeoutMs) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          finish();
          reject(new Error(`no line ${String(pattern)} in time; printed:\n${lines.join('\n')}`));
        }, timeoutMs);
        function finish(): void {
          clearTimeout(timer);
          listeners.delete(look);
        }
        function look(): void {
          const found = lines.find((line) => pattern.test(line));
          if (found !== undefined) {
            finish();
            resolve(found);
          } else if (ended !== undefined) {
            finish();
            reject(new Error(`ended with ${String(ended)}; printed:\n${lines.join('\n')}`));
          }
        }
        listeners.add(look);
        look();
      });
    },
    pressCtrlC() {
      process.kill(-pid, 'SIGINT');
    },
    async children() {
      const text = await readFile(join(site.dataDir, 'running.json'), 'utf8');
      return (JSON.parse(text) as { children: number[] }).children;
    },
  };
}

export async function startProduct(site: ProductSite): Promise<Product> {
  const product = runProduct(site);
  await product.waitForLine(/^sockscope ready/, READY_TIMEOUT_MS);
  return product;
}

/** Variables of an outer npm must not reach the inner one. */
function withoutNpm(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name]) => !/^(npm_|INIT_CWD$|NODE_OPTIONS$|VITEST|NODE_ENV$)/.test(name),
    ),
  );
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
