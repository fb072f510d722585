import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { LocalError } from '../errors.js';
import { pickFreePort } from '../net/ports.js';
import { type ProcessExit, startOwnedProcess } from '../process/owned.js';
import { waitUntilReady } from '../process/readiness.js';

const SERVER_SCRIPT = fileURLToPath(new URL('../../clickhouse/server.mjs', import.meta.url));
const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const PROBE_TIMEOUT_MS = 2_000;
const DEFAULT_MEMORY_MIB = 4096;
/** How long open connections may finish their query when the server is asked to stop. */
const DRAIN_SECONDS = 1;
/** Only for a server that hangs: it ends by itself when its standard input closes. */
const ORPHAN_GRACE_SECONDS = 10;
const PICKED_PORT_ATTEMPTS = 3;
/**
 * Merges may wait while inserts and queries need the cores. Without the capability CAP_SYS_NICE the setting does
 * nothing.
 */
const MERGES_NICER = 5;
const NICEST = 19;

/** Blocks until standard input closes. */
const BLOCK = "SELECT count() FROM file('/dev/stdin', 'LineAsString') FORMAT Null";

export interface StartClickHouseOptions {
  /** Created if it is missing. A second server on the same one is refused by ClickHouse. */
  readonly dataDir: string;
  /** Default: a free one. */
  readonly httpPort?: number;
  /** The native protocol. Default: not offered, unless `offerTcp` asks for a free port. */
  readonly tcpPort?: number;
  readonly offerTcp?: boolean;
  /** An XML file in ClickHouse's form, for settings such as `remote_servers` and `macros`. */
  readonly configFile?: string;
  /**
   * Settings of every query, instead of ClickHouse's own defaults. An unknown name ends the start.
   */
  readonly settings?: Readonly<Record<string, string>>;
  /** Ceiling of the server's memory, default 4096; a query beyond it fails, the server lives. */
  readonly memoryMiB?: number;
  /** Default: no file, only the last lines in memory. */
  readonly logFile?: string;
  /** Ends the start, and with it the process. */
  readonly signal?: AbortSignal;
  /** How far others on the machine go first, from 0 (default) to 19. */
  readonly niceness?: number;
}

export interface ClickHouseServer {
  /** http://127.0.0.1:port */
  readonly url: string;
  readonly httpPort: number;
  /** Null if the native protocol is not offered. */
  readonly tcpPort: number | null;
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  tail(lines: number): readonly string[];
  /** Clean shutdown, one to two seconds; SIGKILL after 20 s. */
  stop(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
}

/**
 * Starts a real ClickHouse server (user `default`, no password, on 127.0.0.1) and resolves when it
 * answers `SELECT 1` over HTTP. It dies with this process.
 *
 * @throws {LocalError} EXITED_EARLY and NOT_READY_IN_TIME with the server's last log lines.
 */
export async function startClickHouse(options: StartClickHouseOptions): Promise<ClickHouseServer> {
  const wantsTcp = options.tcpPort !== undefined || options.offerTcp === true;
  const picked = options.httpPort === undefined || (wantsTcp && options.tcpPort === undefined);
  for (let attempt = 1; ; attempt += 1) {
    const httpPort = options.httpPort ?? (await pickFreePort());
    const tcpPort = wantsTcp ? (options.tcpPort ?? (await pickFreePort())) : null;
    try {
      return await startOn(options, httpPort, tcpPort);
    } catch (error) {
      const portLost = error instanceof LocalError && /already in use/i.test(error.message);
      if (!picked || !portLost || attempt === PICKED_PORT_ATTEMPTS) throw error;
    }
  }
}

async function startOn(
  options: StartClickHouseOptions,
  httpPort: number,
  tcpPort: number | null,
): Promise<ClickHouseServer> {
  const dataPath = join(options.dataDir, 'data');
  await mkdir(dataPath, { recursive: true });
  const listen = tcpPort === null ? ['HTTP'] : ['HTTP', 'TCP'];
  const query = [...listen.map((protocol) => `SYSTEM START LISTEN ${protocol}`), BLOCK].join('; ');
  const lifeline = await openLifeline();
  let child;
  try {
    child = await startOwnedProcess({
      name: 'ClickHouse',
      command: process.execPath,
      args: [
        SERVER_SCRIPT,
        '--config-file',
        await writeConfig(options),
        '--path',
        dataPath,
        '--listen_host',
        '127.0.0.1',
        '--http_port',
        String(httpPort),
        ...(tcpPort === null ? [] : ['--tcp_port', String(tcpPort)]),
        ...Object.entries(options.settings ?? {}).map(([name, value]) => `--${name}=${value}`),
        '--query',
        query,
      ],
      stdin: lifeline.childEnd,
      logFile: options.logFile ?? null,
      orphanGraceSeconds: ORPHAN_GRACE_SECONDS,
      niceness: options.niceness,
    });
  } finally {
    await lifeline.closeChildEnd();
  }
  void child.exited.then(() => lifeline.close());
  try {
    await waitUntilReady(child, () => probe(httpPort, dataPath), READY_TIMEOUT_MS, options.signal);
  } catch (error) {
    await child.kill();
    throw error;
  }
  const server = child;
  return {
    url: `http://127.0.0.1:${String(httpPort)}`,
    httpPort,
    tcpPort,
    pid: server.pid,
    exited: server.exited,
    tail: (lines) => server.tail(lines),
    async stop() {
      await server.stop(STOP_TIMEOUT_MS, () => void lifeline.close());
    },
    async kill() {
      await server.kill();
    },
  };
}

/**
 * Settings of the server itself are taken from a file only: an unknown argument ends the engine
 * silently with exit code 0. The caller's file is laid beside, where ClickHouse merges it.
 */
async function writeConfig(options: StartClickHouseOptions): Promise<string> {
  const file = join(options.dataDir, 'config.xml');
  const extra = join(options.dataDir, 'config.d', 'extra.xml');
  const memoryBytes = (options.memoryMiB ?? DEFAULT_MEMORY_MIB) * 1024 * 1024;
  await writeFile(
    file,
    `<clickhouse>
  <logger><console>1</console><console_log_level>error</console_log_level></logger>
  <max_server_memory_usage>${String(memoryBytes)}</max_server_memory_usage>
  <shutdown_wait_unfinished>${String(DRAIN_SECONDS)}</shutdown_wait_unfinished>
  <os_threads_nice_value_merge_mutate>${String(Math.min(NICEST, (options.niceness ?? 0) + MERGES_NICER))}</os_threads_nice_value_merge_mutate>
</clickhouse>
`,
  );
  await rm(extra, { force: true });
  if (options.configFile !== undefined) {
    await mkdir(join(options.dataDir, 'config.d'), { recursive: true });
    await copyFile(options.configFile, extra);
  }
  return file;
}

/** `SELECT 1`, and the assurance that it is this server that answers and not another one. */
async function probe(httpPort: number, dataPath: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${String(httpPort)}/`, {
    method: 'POST',
    body: "SELECT 1, path FROM system.disks WHERE name = 'default' FORMAT TSVRaw",
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
  });
  const text = (await response.text()).trimEnd();
  if (!response.ok) throw new Error(`HTTP ${String(response.status)}`);
  const [one, path] = text.split('\t');
  if (one !== '1' || path?.replace(/\/$/, '') !== dataPath.replace(/\/$/, '')) {
    throw new Error(`another server answers on port ${String(httpPort)}`);
  }
}

interface Lifeline {
  readonly childEnd: number;
  closeChildEnd(): Promise<void>;
  close(): Promise<void>;
}

/**
 * A pipe whose writing end only this process holds: it closes when this process ends in any way,
 * and the server ends with it. A named one, because Node's `pipe` for a child is a socket,
 * which cannot be opened by the path /dev/stdin.
 */
async function openLifeline(): Promise<Lifeline> {
  const path = join(tmpdir(), `sockscope-lifeline-${randomBytes(8).toString('hex')}`);
  await promisify(execFile)('mkfifo', ['-m', '600', path]);
  try {
    // Opened for both first: opening one end alone would wait for the other.
    const ours = await open(path, 'r+');
    const theirs = await open(path, 'r');
    let closed = false;
    return {
      childEnd: theirs.fd,
      closeChildEnd: () => theirs.close(),
      async close() {
        if (closed) return;
        closed = true;
        await ours.close();
      },
    };
  } finally {
    await rm(path, { force: true });
  }
}
