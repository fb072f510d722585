import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createLogger, loadConfig, Registry } from '@sockscope/runtime';
import type { ListenAddress } from '@sockscope/runtime';
import type { SessionClosed, SessionEvent, SessionStarted } from '@sockscope/schemas';
import type { Acl, AclRequest, AclVerdict } from '../acl/acl.js';
import type { AuthOutcome } from '../auth/auth.js';
import { proxyConfig } from '../config.js';
import type { Spool } from '../limits/spool-share.js';
import type { RelayConfig } from '../relay/config.js';
import type { EventParts } from '../events/event-parts.js';
import { deltaOf } from '../events/measurement.js';
import type { Measurement } from '../events/measurement.js';
import type { MakeEvent, OpenSession } from '../events/sink.js';
import { eventOf } from '../events/testing/event-of.js';
import { createRelay } from '../relay/create-relay.js';
import { createProxyServer } from '../server.js';
import type { ProxyServer, ServerConfig, ServerUsers } from '../server.js';
import { createSessionClock } from '../sessions/clock.js';
import { createSessionMetrics } from '../sessions/metrics.js';
import { createSessionTracker } from '../sessions/tracker.js';
import type { SessionTracker } from '../sessions/session.js';

/** How long a test waits for something that must happen. */
const WAIT_MS = 60_000;

export const ALLOW_ALL: AclVerdict = { decision: 'allow', rule: null };

export interface HarnessOptions {
  readonly config?: Partial<{
    [K in keyof ServerConfig]: ServerConfig[K] extends object
      ? Partial<ServerConfig[K]>
      : ServerConfig[K];
  }>;
  readonly decide?: (request: AclRequest) => AclVerdict;
  /** The known users; default: every client. */
  readonly users?: readonly string[];
  readonly verify?: (username: string, password: string) => Promise<AuthOutcome>;
  readonly relay?: Partial<RelayConfig>;
  readonly spool?: Spool;
}

/** A whole proxy server in this process: its real parts, with the events kept in memory. */
export interface Harness {
  readonly server: ProxyServer;
  readonly address: ListenAddress;
  readonly events: readonly SessionEvent[];
  readonly registry: Registry;
  readonly tracker: SessionTracker;
  /** Makes the sink accept no more sessions, or accept them again. */
  setAccepting(accepting: boolean): void;
  /** Notifies all listeners that rules or users have changed. */
  changed(): void;
  removeUser(user: string): void;
  /** Puts a user into groups, instead of those before. */
  setGroups(user: string, groups: readonly string[]): void;
  started(): SessionStarted[];
  closed(): SessionClosed[];
  /** Resolves when `count` sessions are closed. */
  waitClosed(count?: number): Promise<SessionClosed[]>;
  /** Resolves when no client and no session is left. */
  idle(): Promise<void>;
  /** The value of a metric with these labels; 0 if there is none. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  stop(): Promise<void>;
}

export async function startHarness(options: HarnessOptions = {}): Promise<Harness> {
  const defaults = loadConfig(proxyConfig, {});
  const registry = new Registry();
  const logger = createLogger('proxy-test', { level: 'silent' });
  const events: SessionEvent[] = [];
  const listeners: (() => void)[] = [];
  const sink = {
    accepting: true,
    emit(event: EventParts) {
      events.push(eventOf(event));
    },
    later(make: MakeEvent) {
      events.push(eventOf(make()));
    },
    report(session: OpenSession, delta: Measurement) {
      events.push(eventOf(deltaOf(session.started(), delta)));
    },
    note() {
      // Counters of open sessions matter only if a process crashes.
    },
    release() {
      // Nothing was kept.
    },
    swept() {
      // Nothing waits for it.
    },
  };
  const acl: Acl = {
    decide: options.decide ?? (() => ALLOW_ALL),
    onChange: (listener) => listeners.push(listener),
  };
  const users = new Set(options.users ?? []);
  const groupsOf = new Map<string, readonly string[]>();
  const authenticator: ServerUsers = {
    verify: async (username, password) =>
      (await options.verify?.(username.toString(), password.toString())) ?? {
        ok: false,
        kind: 'wrong',
        retryAfterMs: 0,
      },
    groupsOf: (user) => groupsOf.get(user) ?? [],
    knows: (user) => options.users === undefined || users.has(user),
    onChange: (listener) => listeners.push(listener),
  };
  const tracker = createSessionTracker(defaults.tracking, {
    sink,
    clock: createSessionClock(),
    metrics: createSessionMetrics(registry),
    origin: { proxy_id: 'test', proxy_epoch: Date.now() },
  });
  const relay = createRelay(
    { ...defaults.relay, relay: 'stream', ...options.relay },
    { logger, metrics: registry },
  );
  const config: ServerConfig = {
    auth_policy: options.config?.auth_policy ?? 'none',
    keepalive_ms: options.config?.keepalive_ms ?? defaults.relay.keepalive_ms,
    drain_timeout_ms: options.config?.drain_timeout_ms ?? 0,
    listener: {
      ...defaults.listener,
      listen: { host: '127.0.0.1', port: 0 },
      ...options.config?.listener,
    },
    limits: { ...defaults.limits, ...options.config?.limits },
    dial: { ...defaults.dial, ...options.config?.dial },
    dns: { ...defaults.dns, ...options.config?.dns },
    bind: { ...defaults.bind, ...options.config?.bind },
    udp: { ...defaults.udp, ...options.config?.udp },
  };
  const server = createProxyServer(config, {
    acl,
    authenticator,
    tracker,
    spool: options.spool ?? { bytes: 0, maxBytes: 1, holdsLess: () => true },
    relay,
    registry,
    logger,
  });
  await relay.start();
  tracker.start();
  const address = await server.start();

  const started = (): SessionStarted[] => events.filter((e) => e.type === 'SessionStarted');
  const closed = (): SessionClosed[] => events.filter((e) => e.type === 'SessionClosed');
  return {
    server,
    address,
    events,
    registry,
    tracker,
    setAccepting(accepting) {
      sink.accepting = accepting;
    },
    changed() {
      for (const listener of listeners) listener();
    },
    removeUser(user) {
      users.delete(user);
      for (const listener of listeners) listener();
    },
    setGroups(user, groups) {
      groupsOf.set(user, groups);
      for (const listener of listeners) listener();
    },
    started,
    closed,
    async waitClosed(count = 1) {
      await waitFor(() => closed().length >= count, `${count} closed sessions`);
      return closed();
    },
    idle: () =>
      waitFor(
        () => server.connections === 0 && tracker.liveCount === 0,
        'no connection and no session',
      ),
    async metric(name, labels = {}) {
      const metrics = await registry.getSingleMetric(name)?.get();
      const value = metrics?.values.find((v) =>
        Object.entries(labels).every(([key, label]) => v.labels[key] === label),
      );
      return value?.value ?? 0;
    },
    async stop() {
      await server.stop();
      tracker.stop();
      await relay.stop();
    },
  };
}

/** Waits for a condition, with an error that names it. */
export async function waitFor(condition: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${WAIT_MS} ms: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}

/** A TCP server for tests; `stop` closes its connections too. */
export interface TestServer {
  readonly host: string;
  readonly port: number;
  readonly sockets: Set<Socket>;
  stop(): Promise<void>;
}

export async function startServer(
  onConnection: (socket: Socket) => void,
  host = '127.0.0.1',
  port = 0,
): Promise<TestServer> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(port, host, resolve);
  });
  return {
    host,
    port: (server.address() as AddressInfo).port,
    sockets,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Echoes its input, and ends when the client ends. */
export function startEcho(host?: string, port?: number): Promise<TestServer> {
  return startServer((socket) => socket.pipe(socket), host, port);
}

/** A client that collects its input, so that a test can wait for a number of bytes. */
export class TestClient {
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #hasEnded = false;
  #isClosed = false;
  error: NodeJS.ErrnoException | null = null;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    socket.on('end', () => {
      this.#hasEnded = true;
    });
    socket.on('error', (error) => {
      this.error = error;
    });
    socket.on('close', () => {
      this.#isClosed = true;
    });
  }

  static connect(address: ListenAddress, localAddress?: string): Promise<TestClient> {
    return new Promise((resolve, reject) => {
      const options = {
        host: address.host,
        port: address.port,
        allowHalfOpen: true,
        noDelay: true,
      };
      const socket = connect(localAddress === undefined ? options : { ...options, localAddress });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new TestClient(socket));
      });
    });
  }

  get received(): Buffer {
    return this.#received;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  send(...parts: (number | string | Uint8Array)[]): this {
    this.socket.write(bytesOf(...parts));
    return this;
  }

  /** Takes the next `length` bytes. */
  async read(length: number): Promise<Buffer> {
    await waitFor(
      () => this.#received.length >= length || this.#hasEnded || this.#isClosed,
      `${length} bytes (got ${this.#received.toString('hex')})`,
    );
    if (this.#received.length < length) {
      throw new Error(`ended after ${this.#received.toString('hex')}`);
    }
    const taken = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return taken;
  }

  /** Everything up to the end of the stream. */
  async readAll(): Promise<Buffer> {
    await waitFor(() => this.#hasEnded || this.#isClosed, 'the end of the stream');
    const taken = this.#received;
    this.#received = Buffer.alloc(0);
    return taken;
  }

  /** Resolves when the proxy has closed the connection. */
  async waitClosed(): Promise<void> {
    await waitFor(() => this.#isClosed || this.#hasEnded, 'a closed connection');
  }

  destroy(): void {
    this.socket.destroy();
  }
}

export function bytesOf(...parts: (number | string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part))),
  );
}

export const GREETING = bytesOf(5, 1, 0);

/** `VER CMD RSV ATYP ADDR PORT` for an IPv4 address or a name. */
export function requestFor(host: string, port: number, command = 1): Buffer {
  const octets = /^\d+\.\d+\.\d+\.\d+$/.test(host) ? host.split('.').map(Number) : null;
  return bytesOf(
    5,
    command,
    0,
    ...(octets === null ? [3, Buffer.byteLength(host), host] : [1, ...octets]),
    port >> 8,
    port & 255,
  );
}
