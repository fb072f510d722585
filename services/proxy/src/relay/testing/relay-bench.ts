import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, connect } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Session } from '../../sessions/session.js';
import type { Relay, RelayEnd } from '../relay.js';

/** A session that nobody tracks: counters alone. */
export function countingSession(): Session {
  return {
    session_id: '00000000-0000-7000-8000-000000000000',
    startedAtMs: 0,
    header: {
      user: 'anonymous',
      source_ip: '127.0.0.1',
      source_port: 1,
      dest_host: '127.0.0.1',
      dest_port: 1,
      protocol: 'tcp',
      command: 'connect',
      auth_method: 'none',
    },
    late: {
      dest_ip: '127.0.0.1',
      egress_ip: null,
      egress_port: null,
      acl_decision: 'allow',
      acl_rule_matched: null,
    },
    bytesSent: 0,
    bytesReceived: 0,
    packetsSent: 0,
    packetsReceived: 0,
    aclInputs: null,
    refreshCounters: null,
    terminate: null,
    connected: () => undefined,
    unreached: () => undefined,
    blocked: () => undefined,
    close: () => undefined,
    closed: false,
  };
}

/** One relayed session with a hand on each of its ends. */
export interface Relayed {
  readonly client: Socket;
  readonly upstream: Socket;
  readonly session: Session;
  readonly end: Promise<RelayEnd>;
}

/** A relay between real sockets on loopback, without a handshake before it. */
export interface RelayBench {
  open(options?: { head?: Buffer | null; beforeRun?: (pair: Pair) => void }): Promise<Relayed>;
  stop(): Promise<void>;
}

export interface Pair {
  /** The relay's own ends of the two connections. */
  readonly client: Socket;
  readonly upstream: Socket;
  /** The far ends. */
  readonly farClient: Socket;
  readonly farUpstream: Socket;
}

/** A server that hands each accepted connection to the waiter for its remote port. */
interface Acceptor {
  readonly server: Server;
  accept(remotePort: number): Promise<Socket>;
}

async function listen(): Promise<Acceptor> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const arrived = new Map<number, Socket>();
  const awaited = new Map<number, (socket: Socket) => void>();
  server.on('connection', (socket: Socket) => {
    const port = socket.remotePort ?? 0;
    const waiter = awaited.get(port);
    if (waiter === undefined) arrived.set(port, socket);
    else waiter(socket);
    awaited.delete(port);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    server,
    accept(port) {
      const socket = arrived.get(port);
      arrived.delete(port);
      if (socket !== undefined) return Promise.resolve(socket);
      return new Promise((resolve) => awaited.set(port, resolve));
    },
  };
}

/** Two ends of one connection. */
async function connection(acceptor: Acceptor): Promise<{ near: Socket; far: Socket }> {
  const { port } = acceptor.server.address() as AddressInfo;
  const outgoing = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  outgoing.pause();
  await once(outgoing, 'connect');
  return { near: await acceptor.accept(outgoing.localPort ?? 0), far: outgoing };
}

export async function createRelayBench(relay: Relay): Promise<RelayBench> {
  const [clients, upstreams] = await Promise.all([listen(), listen()]);
  const sockets = new Set<Socket>();
  return {
    async open({ head = null, beforeRun } = {}) {
      const toProxy = await connection(clients);
      // The proxy connects to the upstream: its own end is the outgoing one.
      const toUpstream = await connection(upstreams);
      const pair: Pair = {
        client: toProxy.near,
        upstream: toUpstream.far,
        farClient: toProxy.far,
        farUpstream: toUpstream.near,
      };
      for (const far of [pair.farClient, pair.farUpstream]) {
        sockets.add(far);
        far.on('error', () => undefined);
        far.once('close', () => sockets.delete(far));
        far.setNoDelay(true);
      }
      beforeRun?.(pair);
      const session = countingSession();
      const end = relay.run({ session, client: pair.client, upstream: pair.upstream, head });
      return { client: pair.farClient, upstream: pair.farUpstream, session, end };
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await Promise.all(
        [clients, upstreams].map(({ server }) => new Promise((done) => server.close(done))),
      );
    },
  };
}

/** How a socket's stream ended, with a digest of all that came. */
export interface Received {
  readonly bytes: number;
  readonly sha256: string;
  /** `end`, or the errno. */
  readonly how: string;
}

/** Reads until the other side ends or breaks. */
export function receiveAll(socket: Socket): Promise<Received> {
  const hash = createHash('sha256');
  let bytes = 0;
  return new Promise((resolve) => {
    const done = (how: string): void => {
      resolve({ bytes, sha256: bytes === 0 ? '' : hash.copy().digest('hex'), how });
    };
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      hash.update(chunk);
    });
    socket.once('end', () => {
      done('end');
    });
    socket.once('error', (error: Error & { code?: string }) => {
      done(error.code ?? 'error');
    });
    socket.once('close', () => {
      done('close');
    });
    socket.resume();
  });
}

/** Sends pseudo-random bytes in uneven chunks with backpressure. Returns their digest. */
export async function sendRandom(socket: Socket, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  const block = randomBytes(300_007);
  let left = bytes;
  let offset = 0;
  while (left > 0) {
    const size = Math.min(left, 1 + ((offset * 7919) % 200_003));
    const start = (offset * 104_729) % (block.length - size > 0 ? block.length - size : 1);
    const chunk = Buffer.from(block.subarray(start, start + size));
    hash.update(chunk);
    left -= chunk.length;
    offset += 1;
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
  return hash.digest('hex');
}

/** Waits until a condition holds; ends with an error after `timeoutMs`. */
export async function until(condition: () => boolean, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline)
      throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
