/** Longer than 400 lines: one row for each message and reply of RFC 1928 and RFC 1929. */
import type { SessionClosed } from '@sockscope/schemas';
import type { BindConfig } from '../bind/config.js';
import type { DialConfig } from '../dial/config.js';
import type { DnsConfig } from '../dns/config.js';
import type { LimitsConfig } from '../limits/config.js';
import type { UdpConfig } from '../udp/config.js';
import type { AclRequest, AclVerdict } from '../acl/acl.js';
import { bytesOf, GREETING, startEcho, startHarness, TestClient } from './harness.js';
import type { Harness, TestServer } from './harness.js';
import { startDnsServer } from './dns-server.js';
import type { DnsServer } from './dns-server.js';

export const POLICIES = ['none', 'password', 'optional'] as const;
type Policy = (typeof POLICIES)[number];

/** A whole dialogue of a client with the proxy: the client's bytes, and all their effects. */
export interface Dialogue {
  readonly name: string;
  readonly policy: Policy;
  /** The client's bytes, independent of the proxy's answers. */
  readonly send: (world: World) => Buffer;
  /** All that the client receives, as hexadecimal digits; a dot is a digit that may be any. */
  readonly receive: string;
  /** The session's record; null if there must be none. */
  readonly session: Partial<SessionClosed> | null;
  /** How the handshake failed, as the metric counts it. */
  readonly failure?: string;
}

/** The environment of the dialogues, with one proxy per authentication policy. */
export interface World {
  readonly proxies: Readonly<Record<Policy, Harness>>;
  readonly echo: TestServer;
  readonly echo6: TestServer;
  readonly dns: DnsServer;
  /** A port on 127.0.0.1 on which nothing listens. */
  readonly closedPort: number;
  stop(): Promise<void>;
}

export const LONG_PASSWORD = 'p'.repeat(255);
const LONG_USER = 'u'.repeat(255);
const PASSWORDS: Readonly<Record<string, string>> = {
  alice: 'secret',
  [LONG_USER]: LONG_PASSWORD,
};

function decide({ dest_host, dest_ip }: AclRequest): AclVerdict {
  if (dest_host === 'blocked.test') return { decision: 'block', rule: 'no-blocked-names' };
  if (dest_ip === '127.0.0.66') return { decision: 'block', rule: 'no-66' };
  return { decision: 'allow', rule: dest_ip === null ? null : 'loopback' };
}

export interface WorldOptions {
  readonly limits?: Partial<LimitsConfig>;
  readonly dial?: Partial<DialConfig>;
  readonly dns?: Partial<DnsConfig>;
  readonly bind?: Partial<BindConfig>;
  readonly udp?: Partial<UdpConfig>;
  readonly idle_timeout_ms?: number;
  /** Only this machine may be reached, whichever address random bytes ask for. */
  readonly loopbackOnly?: boolean;
}

function pick({ limits, dial, bind, udp }: WorldOptions) {
  return {
    ...(limits === undefined ? {} : { limits }),
    ...(dial === undefined ? {} : { dial }),
    ...(bind === undefined ? {} : { bind }),
    ...(udp === undefined ? {} : { udp }),
  };
}

function decideWithinLoopback(request: AclRequest): AclVerdict {
  const { dest_ip } = request;
  const isLocal = dest_ip === null || ['127.0.0.1', '::1', '0.0.0.0'].includes(dest_ip);
  return isLocal ? decide(request) : { decision: 'block', rule: 'loopback-only' };
}

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const dns = await startDnsServer();
  dns.set('echo.test', { addresses: ['127.0.0.1'] });
  dns.set('half-blocked.test', { addresses: ['127.0.0.66', '127.0.0.1'] });
  dns.set('blocked-address.test', { addresses: ['127.0.0.66'] });
  dns.set('failing.test', { rcode: 2 });
  const start = (policy: Policy): Promise<Harness> =>
    startHarness({
      config: {
        auth_policy: policy,
        dns: { servers: [dns.address], family: 'ipv4', ...options.dns },
        ...pick(options),
      },
      relay:
        options.idle_timeout_ms === undefined ? {} : { idle_timeout_ms: options.idle_timeout_ms },
      decide: options.loopbackOnly === true ? decideWithinLoopback : decide,
      verify: (username, password) =>
        Promise.resolve(
          PASSWORDS[username] === password
            ? { ok: true, user: username }
            : { ok: false, kind: username === 'mallory' ? 'throttled' : 'wrong', retryAfterMs: 0 },
        ),
    });
  const [echo, echo6, gone] = await Promise.all([startEcho(), startEcho('::1'), startEcho()]);
  await gone.stop();
  const [none, password, optional] = await Promise.all(POLICIES.map(start));
  if (none === undefined || password === undefined || optional === undefined) {
    throw new TypeError('a policy without a proxy');
  }
  const proxies = { none, password, optional };
  return {
    proxies,
    echo,
    echo6,
    dns,
    closedPort: gone.port,
    async stop() {
      await Promise.all(Object.values(proxies).map((proxy) => proxy.stop()));
      await Promise.all([echo.stop(), echo6.stop(), dns.stop()]);
    },
  };
}

const port = (value: number): Buffer => bytesOf(value >> 8, value & 255);
const ipv4 = (value: number, command = 1): Buffer =>
  bytesOf(5, command, 0, 1, 127, 0, 0, 1, port(value));
const named = (name: string | Buffer, value: number): Buffer =>
  bytesOf(5, 1, 0, 3, Buffer.byteLength(name), name, port(value));
const credentials = (user: string, password: string): Buffer =>
  bytesOf(1, user.length, user, password.length, password);

const NO_METHOD = '05ff';
const NONE = '0500';
const PASSWORD = '0502';
const ACCEPTED = '0100';
const REFUSED = '0101';
const OK4 = '050000017f000001....';
const OK6 = '0500000400000000000000000000000000000001....';
const failed = (code: number): string => `050${code}0001000000000000`;
const HELLO = Buffer.from('hello').toString('hex');

const ANSWERED = {
  bytes_sent: 5,
  bytes_received: 5,
  status: 'closed',
  close_reason: 'client_eof',
  error_code: null,
} as const;

function dialogue(
  name: string,
  policy: Policy,
  send: (world: World) => Buffer,
  then: Pick<Dialogue, 'receive' | 'failure'> & Partial<Pick<Dialogue, 'session'>>,
): Dialogue {
  return { name, policy, send, session: null, ...then };
}

/** Every message and every reply of RFC 1928 and RFC 1929 that CONNECT knows, and every refusal. */
export const DIALOGUES: readonly Dialogue[] = [
  // Greeting.
  dialogue('no method at all', 'none', () => bytesOf(5, 0), {
    receive: NO_METHOD,
    failure: 'no_acceptable_method',
  }),
  dialogue('GSSAPI alone is refused', 'none', () => bytesOf(5, 1, 1), {
    receive: NO_METHOD,
    failure: 'no_acceptable_method',
  }),
  dialogue('GSSAPI alone is refused beside passwords', 'optional', () => bytesOf(5, 1, 1), {
    receive: NO_METHOD,
    failure: 'no_acceptable_method',
  }),
  dialogue('a password without any users', 'none', () => bytesOf(5, 1, 2), {
    receive: NO_METHOD,
    failure: 'no_acceptable_method',
  }),
  dialogue('no authentication if a password is wanted', 'password', () => bytesOf(5, 2, 0, 1), {
    receive: NO_METHOD,
    failure: 'no_acceptable_method',
  }),
  dialogue('SOCKS4', 'none', () => bytesOf(4, 1, 0, 80, 127, 0, 0, 1, 0), {
    receive: '',
    failure: 'bad_version',
  }),
  dialogue('HTTP', 'none', () => bytesOf('GET / HTTP/1.1\r\n\r\n'), {
    receive: '',
    failure: 'bad_version',
  }),
  dialogue('an end after the greeting', 'none', () => bytesOf(5, 1, 0), {
    receive: NONE,
    failure: 'eof',
  }),
  dialogue('an end in the middle of the request', 'none', () => bytesOf(GREETING, 5, 1, 0, 3, 9), {
    receive: NONE,
    failure: 'eof',
  }),

  // CONNECT, answered.
  dialogue('IPv4', 'none', (w) => bytesOf(GREETING, ipv4(w.echo.port), 'hello'), {
    receive: NONE + OK4 + HELLO,
    session: {
      ...ANSWERED,
      user: 'anonymous',
      auth_method: 'none',
      dest_host: '127.0.0.1',
      dest_ip: '127.0.0.1',
      protocol: 'tcp',
      command: 'connect',
      acl_decision: 'allow',
      acl_rule_matched: 'loopback',
    },
  }),
  dialogue(
    'IPv6',
    'none',
    (w) =>
      bytesOf(
        GREETING,
        5,
        1,
        0,
        4,
        Buffer.from(`${'00'.repeat(15)}01`, 'hex'),
        port(w.echo6.port),
        'hello',
      ),
    { receive: NONE + OK6 + HELLO, session: { ...ANSWERED, dest_host: '::1', dest_ip: '::1' } },
  ),
  dialogue(
    'IPv4 inside IPv6',
    'none',
    (w) =>
      bytesOf(
        GREETING,
        5,
        1,
        0,
        4,
        Buffer.from('00000000000000000000ffff7f000001', 'hex'),
        port(w.echo.port),
        'hello',
      ),
    { receive: NONE + OK4 + HELLO, session: { ...ANSWERED, dest_ip: '127.0.0.1' } },
  ),
  dialogue(
    'a name, in capitals and with a dot at its end',
    'none',
    (w) => bytesOf(GREETING, named('ECHO.Test.', w.echo.port), 'hello'),
    {
      receive: NONE + OK4 + HELLO,
      session: {
        ...ANSWERED,
        dest_host: 'echo.test',
        dest_ip: '127.0.0.1',
        acl_rule_matched: 'loopback',
      },
    },
  ),
  dialogue(
    'a name with one blocked and one allowed address',
    'none',
    (w) => bytesOf(GREETING, named('half-blocked.test', w.echo.port), 'hello'),
    {
      receive: NONE + OK4 + HELLO,
      session: { ...ANSWERED, dest_ip: '127.0.0.1', acl_decision: 'allow' },
    },
  ),
  dialogue(
    'an address spelt as a name',
    'none',
    (w) => bytesOf(GREETING, named('0x7f.1', w.echo.port), 'hello'),
    {
      receive: NONE + OK4 + HELLO,
      session: { ...ANSWERED, dest_host: '0x7f.1', dest_ip: '127.0.0.1' },
    },
  ),
  dialogue(
    'a greeting with 255 methods, and a reserved byte that is set',
    'none',
    (w) =>
      bytesOf(
        5,
        255,
        Buffer.alloc(254, 9),
        0,
        5,
        1,
        77,
        1,
        127,
        0,
        0,
        1,
        port(w.echo.port),
        'hello',
      ),
    { receive: NONE + OK4 + HELLO, session: ANSWERED },
  ),

  // Username and password.
  dialogue(
    'the right password',
    'password',
    (w) => bytesOf(5, 2, 0, 2, credentials('alice', 'secret'), ipv4(w.echo.port), 'hello'),
    {
      receive: PASSWORD + ACCEPTED + OK4 + HELLO,
      session: { ...ANSWERED, user: 'alice', auth_method: 'password' },
    },
  ),
  dialogue(
    'user and password of 255 bytes',
    'password',
    (w) => bytesOf(5, 1, 2, credentials(LONG_USER, LONG_PASSWORD), ipv4(w.echo.port), 'hello'),
    { receive: PASSWORD + ACCEPTED + OK4 + HELLO, session: { ...ANSWERED, user: LONG_USER } },
  ),
  dialogue('a wrong password', 'password', () => bytesOf(5, 1, 2, credentials('alice', 'wrong')), {
    receive: PASSWORD + REFUSED,
    failure: 'auth_failed',
  }),
  dialogue('a throttled login', 'password', () => bytesOf(5, 1, 2, credentials('mallory', 'x')), {
    receive: PASSWORD + REFUSED,
    failure: 'auth_throttled',
  }),
  dialogue('empty credentials', 'password', () => bytesOf(5, 1, 2, 1, 0, 0), {
    receive: PASSWORD + REFUSED,
    failure: 'auth_failed',
  }),
  dialogue('credentials of another version', 'password', () => bytesOf(5, 1, 2, 5, 1, 0), {
    receive: PASSWORD,
    failure: 'bad_version',
  }),
  dialogue(
    'a password that is optional',
    'optional',
    (w) => bytesOf(5, 2, 0, 2, credentials('alice', 'secret'), ipv4(w.echo.port), 'hello'),
    { receive: PASSWORD + ACCEPTED + OK4 + HELLO, session: { ...ANSWERED, user: 'alice' } },
  ),
  dialogue(
    'no password although one is possible',
    'optional',
    (w) => bytesOf(5, 2, 1, 0, ipv4(w.echo.port), 'hello'),
    { receive: NONE + OK4 + HELLO, session: { ...ANSWERED, user: 'anonymous' } },
  ),

  // Requests that are refused.
  ...[0, 4, 0xf0, 0xff].map((command) =>
    dialogue(`command ${command}`, 'none', (w) => bytesOf(GREETING, ipv4(w.echo.port, command)), {
      receive: NONE + failed(7),
      failure: 'command_not_supported',
    }),
  ),
  ...[0, 2, 5, 255].map((type) =>
    dialogue(`address type ${type}`, 'none', () => bytesOf(GREETING, 5, 1, 0, type, 1, 2, 3), {
      receive: NONE + failed(8),
      failure: 'address_type_not_supported',
    }),
  ),
  dialogue('an unknown command and address type', 'none', () => bytesOf(GREETING, 5, 9, 0, 9), {
    receive: NONE + failed(7),
    failure: 'command_not_supported',
  }),
  dialogue('a request of another version', 'none', () => bytesOf(GREETING, 4, 1, 0, 1), {
    receive: NONE,
    failure: 'bad_version',
  }),
  dialogue('BIND that is disabled', 'none', () => bytesOf(GREETING, ipv4(9, 2)), {
    receive: NONE + failed(7),
    session: {
      status: 'failed',
      close_reason: 'command_refused',
      command: 'bind',
      dest_port: 9,
    },
  }),
  dialogue('UDP ASSOCIATE that is disabled', 'none', () => bytesOf(GREETING, ipv4(9, 3)), {
    receive: NONE + failed(7),
    session: {
      status: 'failed',
      close_reason: 'command_refused',
      command: 'udp_associate',
      protocol: 'udp',
    },
  }),

  // Destinations that are not reached.
  dialogue('a blocked name', 'none', () => bytesOf(GREETING, named('blocked.test', 80)), {
    receive: NONE + failed(2),
    session: {
      status: 'rejected_by_acl',
      close_reason: 'acl_rejected',
      acl_decision: 'block',
      acl_rule_matched: 'no-blocked-names',
      dest_host: 'blocked.test',
      dest_ip: null,
      connect_ms: null,
    },
  }),
  dialogue('a blocked address', 'none', () => bytesOf(GREETING, 5, 1, 0, 1, 127, 0, 0, 66, 0, 80), {
    receive: NONE + failed(2),
    session: {
      status: 'rejected_by_acl',
      acl_rule_matched: 'no-66',
      dest_ip: '127.0.0.66',
      dest_port: 80,
    },
  }),
  dialogue(
    'a name whose every address is blocked',
    'none',
    () => bytesOf(GREETING, named('blocked-address.test', 80)),
    {
      receive: NONE + failed(2),
      session: {
        status: 'rejected_by_acl',
        close_reason: 'acl_rejected',
        acl_decision: 'block',
        acl_rule_matched: 'no-66',
        dest_host: 'blocked-address.test',
        dest_ip: '127.0.0.66',
      },
    },
  ),
  dialogue('a refused connection', 'none', (w) => bytesOf(GREETING, ipv4(w.closedPort)), {
    receive: NONE + failed(5),
    session: {
      status: 'failed',
      close_reason: 'connect_failed',
      error_code: 'ECONNREFUSED',
      bytes_sent: 0,
    },
  }),
  dialogue(
    'a network that cannot be reached',
    'none',
    () => bytesOf(GREETING, 5, 1, 0, 1, 255, 255, 255, 255, 0, 80),
    {
      receive: NONE + failed(3),
      session: { status: 'failed', close_reason: 'connect_failed', error_code: 'ENETUNREACH' },
    },
  ),
  dialogue('a name that does not exist', 'none', () => bytesOf(GREETING, named('gone.test', 80)), {
    receive: NONE + failed(4),
    session: {
      status: 'failed',
      close_reason: 'dns_failed',
      error_code: 'ENOTFOUND',
      dest_host: 'gone.test',
    },
  }),
  dialogue('a name server that fails', 'none', () => bytesOf(GREETING, named('failing.test', 80)), {
    receive: NONE + failed(4),
    session: { close_reason: 'dns_failed', error_code: 'ESERVFAIL' },
  }),
  dialogue('an empty name', 'none', () => bytesOf(GREETING, named('', 80)), {
    receive: NONE + failed(4),
    session: { close_reason: 'dns_failed', error_code: 'EBADNAME', dest_host: '\\x' },
  }),
  dialogue(
    'a name of any bytes',
    'none',
    () => bytesOf(GREETING, named(Buffer.from([0, 255, 10]), 80)),
    {
      receive: NONE + failed(4),
      session: { close_reason: 'dns_failed', error_code: 'EBADNAME', dest_host: '\\x00\\xff\\x0a' },
    },
  ),
];

/** The outcome of a dialogue. */
export interface Result {
  readonly received: string;
  readonly sessions: readonly SessionClosed[];
}

/**
 * Sends the pieces one by one, each in a segment of its own, then ends; gathers all that comes
 * back and the sessions that it made.
 */
export async function converse(proxy: Harness, pieces: readonly Buffer[]): Promise<Result> {
  const before = proxy.closed().length;
  const client = await TestClient.connect(proxy.address);
  try {
    for (const piece of pieces) {
      client.socket.write(piece);
      // The proxy, in this same process, reads before the next piece is sent.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    client.socket.end();
    const received = (await client.readAll()).toString('hex');
    client.destroy();
    await proxy.idle();
    return { received, sessions: proxy.closed().slice(before) };
  } finally {
    client.destroy();
  }
}
