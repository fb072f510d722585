import type { Socket } from 'node:net';
import { loadLibc } from './libc.js';
import { nativeConnects } from './native-connects.js';
import type { Origin } from './origin.js';
import type { Job, JobResult, Via } from './protocol.js';
import { open, sendForEver } from './sockets.js';

/** Runs before a bulk measurement begins: buffers grow, and the kernel finds its pace. */
const WARM_UP_MS = 500;
/** The same for connections, whose code has to become hot first: a proxy runs for days. */
const CONNECT_WARM_UP_MS = 2_000;
const ECHO_BYTES = 100;
const IDLE_OPENED_AT_ONCE = 64;
/** Held sessions are served in slices, so that the load is even. */
const HOLD_TICK_MS = 50;

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

const libc = loadLibc();

/** Sessions that stay open until `close_idle`. */
const idle: Socket[] = [];

export async function runJob(job: Job, via: Via, origin: Origin): Promise<JobResult> {
  switch (job.kind) {
    case 'download':
    case 'upload':
      return bulk(job, via, origin);
    case 'connect_rate':
      return connectRate(job, via, origin);
    case 'hold':
      return hold(job, via, origin);
    case 'ping_pong':
      return pingPong(job, via, origin);
    case 'handshake':
      return handshakes(job, via, origin);
    case 'open_idle':
      return openIdle(job.sessions, via, origin);
    case 'open_downloads':
      return openDownloads(job.connections, via, origin);
    case 'close_idle':
      return closeIdle();
  }
}

function quantiles(latenciesUs: number[]): Pick<JobResult, 'p50Us' | 'p99Us'> {
  latenciesUs.sort((a, b) => a - b);
  const quantile = (q: number): number | null =>
    latenciesUs[Math.min(latenciesUs.length - 1, Math.floor(latenciesUs.length * q))] ?? null;
  return { p50Us: quantile(0.5), p99Us: quantile(0.99) };
}

function resultOf(
  count: number,
  startMs: number,
  failures = 0,
  latenciesUs: number[] = [],
): JobResult {
  const elapsedMs = performance.now() - startMs;
  return { count, total: count, elapsedMs, failures, ...quantiles(latenciesUs) };
}

async function bulk(
  job: Extract<Job, { kind: 'download' | 'upload' }>,
  via: Via,
  origin: Origin,
): Promise<JobResult> {
  const isDownload = job.kind === 'download';
  let received = 0;
  const opened = await Promise.all(
    Array.from({ length: job.connections }, () =>
      open(via, isDownload ? origin.source : origin.sink),
    ),
  );
  for (const connection of opened) {
    if (isDownload) {
      connection.onBytes = (bytes) => {
        received += bytes;
      };
    } else sendForEver(connection.socket);
  }
  const bytes = (): number => (isDownload ? received : origin.received);
  const beforeAll = bytes();
  await sleep(WARM_UP_MS);
  const before = bytes();
  const startMs = performance.now();
  await sleep(job.durationMs);
  const result = resultOf(
    bytes() - before,
    startMs,
    opened.filter(({ socket }) => socket.destroyed).length,
  );
  for (const { socket } of opened) socket.destroy();
  await sleep(WARM_UP_MS);
  return { ...result, total: bytes() - beforeAll };
}

/** Connects, has 100 bytes echoed, ends and waits for the end of the other side; several at once. */
async function connectRate(
  job: Extract<Job, { kind: 'connect_rate' }>,
  via: Via,
  origin: Origin,
): Promise<JobResult> {
  if (libc === null) {
    if (job.perSecond !== undefined) throw new Error('a given pace needs Linux and koffi');
    return plainConnectRate(job, via, origin);
  }
  const { latenciesUs, ...counted } = nativeConnects(libc, via, {
    ...job,
    echoBytes: ECHO_BYTES,
    warmUpMs: CONNECT_WARM_UP_MS,
  });
  return { ...counted, ...quantiles(latenciesUs) };
}

/** The same with Node's sockets, which cost as much as a proxy does. */
async function plainConnectRate(
  job: Extract<Job, { kind: 'connect_rate' }>,
  via: Via,
  origin: Origin,
): Promise<JobResult> {
  const payload = Buffer.alloc(ECHO_BYTES, 0x62);
  let count = 0;
  let failures = 0;
  let running = true;
  const lane = async (n: number): Promise<void> => {
    // Addresses of their own, so that ports in TIME_WAIT never run out.
    const localAddress = `127.0.1.${n + 1}`;
    while (running) {
      try {
        const connection = await open(via, origin.echo, localAddress);
        await new Promise<void>((resolve, reject) => {
          const { socket } = connection;
          let left = ECHO_BYTES;
          connection.onBytes = (bytes) => {
            left -= bytes;
            if (left === 0) socket.end();
          };
          socket.once('close', () => {
            if (left === 0) resolve();
            else reject(new Error('closed before the echo'));
          });
          socket.resume();
          socket.write(payload);
        });
        count += 1;
      } catch {
        failures += 1;
      }
    }
  };
  const lanes = Array.from({ length: job.atOnce }, (_, n) => lane(n));
  await sleep(CONNECT_WARM_UP_MS);
  const before = count;
  const startMs = performance.now();
  await sleep(job.durationMs);
  const result = resultOf(count - before, startMs, failures);
  running = false;
  await Promise.all(lanes);
  return { ...result, total: count };
}

/** Opens sessions, has each echo its bytes again and again, and closes them. Counts the sessions. */
async function hold(
  job: Extract<Job, { kind: 'hold' }>,
  via: Via,
  origin: Origin,
): Promise<JobResult> {
  const startMs = performance.now();
  const payload = Buffer.alloc(ECHO_BYTES, 0x64);
  const opened: Socket[] = [];
  let failures = 0;
  const lane = async (): Promise<void> => {
    while (opened.length + failures < job.sessions) {
      try {
        opened.push((await open(via, origin.echo)).socket);
      } catch {
        failures += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: IDLE_OPENED_AT_ONCE }, lane));
  const slices = Math.max(1, Math.round(job.echoEveryMs / HOLD_TICK_MS));
  const endMs = performance.now() + job.durationMs;
  for (let tick = 0; performance.now() < endMs; tick++) {
    for (let n = tick % slices; n < opened.length; n += slices) opened[n]?.write(payload);
    await sleep(HOLD_TICK_MS);
  }
  failures += opened.filter((socket) => socket.destroyed).length;
  for (const socket of opened) socket.destroy();
  await sleep(WARM_UP_MS);
  return resultOf(opened.length, startMs, failures);
}

async function pingPong(
  job: Extract<Job, { kind: 'ping_pong' }>,
  via: Via,
  origin: Origin,
): Promise<JobResult> {
  const connection = await open(via, origin.echo);
  const { socket } = connection;
  const message = Buffer.alloc(job.bytes, 0x63);
  const latenciesUs: number[] = [];
  const startMs = performance.now();
  await new Promise<void>((resolve) => {
    let sentAt = performance.now();
    let left = job.bytes;
    socket.once('close', resolve);
    connection.onBytes = (bytes) => {
      left -= bytes;
      if (left > 0) return;
      const now = performance.now();
      latenciesUs.push((now - sentAt) * 1_000);
      if (now - startMs >= job.durationMs) {
        resolve();
        return;
      }
      left = job.bytes;
      sentAt = now;
      socket.write(message);
    };
    socket.write(message);
  });
  const result = resultOf(latenciesUs.length, startMs, 0, latenciesUs);
  socket.destroy();
  return result;
}

async function handshakes(
  job: Extract<Job, { kind: 'handshake' }>,
  via: Via,
  origin: Origin,
): Promise<JobResult> {
  const latenciesUs: number[] = [];
  let failures = 0;
  const startMs = performance.now();
  while (performance.now() - startMs < job.durationMs) {
    const began = performance.now();
    try {
      const { socket } = await open(via, origin.silent);
      latenciesUs.push((performance.now() - began) * 1_000);
      socket.destroy();
    } catch {
      failures += 1;
    }
    await sleep(2);
  }
  const result = resultOf(latenciesUs.length, startMs, failures, latenciesUs);
  return result;
}

async function openDownloads(connections: number, via: Via, origin: Origin): Promise<JobResult> {
  const startMs = performance.now();
  const opened = await Promise.all(
    Array.from({ length: connections }, () => open(via, origin.source)),
  );
  for (const { socket } of opened) idle.push(socket);
  await sleep(WARM_UP_MS);
  return resultOf(connections, startMs);
}

async function openIdle(sessions: number, via: Via, origin: Origin): Promise<JobResult> {
  const startMs = performance.now();
  let failures = 0;
  const target = idle.length + sessions;
  const lane = async (): Promise<void> => {
    while (idle.length + failures < target) {
      try {
        const { socket } = await open(via, origin.silent);
        idle.push(socket);
      } catch {
        failures += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: IDLE_OPENED_AT_ONCE }, lane));
  return resultOf(idle.length, startMs, failures);
}

async function closeIdle(): Promise<JobResult> {
  const startMs = performance.now();
  const sockets = idle.splice(0);
  const broken = sockets.filter((socket) => socket.destroyed).length;
  for (const socket of sockets) socket.destroy();
  await sleep(WARM_UP_MS);
  return resultOf(sockets.length, startMs, broken);
}
