/** Longer than 400 lines: all tests talk to one proxy, with helpers that know its replies. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { startDnsServer } from './testing/dns-server.js';
import type { DnsServer } from './testing/dns-server.js';
import {
  bytesOf,
  GREETING,
  requestFor,
  startEcho,
  startHarness,
  startServer,
  TestClient,
  waitFor,
} from './testing/harness.js';
import type { Harness, HarnessOptions, TestServer } from './testing/harness.js';
import { loopbackRules } from './testing/rules.js';
import { startSilentServer } from './testing/silent-server.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) {
    // In order: the last one started may use the first.
    await cleanup();
  }
});

async function harness(options?: HarnessOptions): Promise<Harness> {
  const made = await startHarness(options);
  cleanups.push(() => made.stop());
  return made;
}

async function echo(host?: string): Promise<TestServer> {
  const made = await startEcho(host);
  cleanups.push(() => made.stop());
  return made;
}

async function dnsServer(): Promise<DnsServer> {
  const made = await startDnsServer();
  cleanups.push(() => made.stop());
  return made;
}

async function silent(): Promise<{ host: string; port: number }> {
  const made = await startSilentServer();
  cleanups.push(() => {
    made.stop();
  });
  return made;
}

async function client(proxy: Harness, localAddress?: string): Promise<TestClient> {
  const made = await TestClient.connect(proxy.address, localAddress);
  cleanups.push(() => {
    made.destroy();
  });
  return made;
}

/** A client whose session stands. */
async function connected(proxy: Harness, origin: TestServer): Promise<TestClient> {
  const made = await client(proxy);
  made.send(GREETING, requestFor(origin.host, origin.port));
  expect((await made.read(12))[3]).toBe(0);
  return made;
}

const LIMITS = 'sockscope_proxy_limit_refusals_total';
const FAILURES = 'sockscope_proxy_handshake_failures_total';
const NOT_ALLOWED = bytesOf(5, 2, 0, 1, 0, 0, 0, 0, 0, 0).toString('hex');

describe('CONNECT', () => {
  it('replies with the address and port that the destination sees', async () => {
    const proxy = await harness();
    const origin = await echo();
    const c = await client(proxy);
    c.send(GREETING, requestFor('127.0.0.1', origin.port));
    const reply = (await c.read(12)).subarray(2);
    expect([...reply.subarray(4, 8)].join('.')).toBe([...origin.sockets][0]?.remoteAddress);
    expect(reply.readUInt16BE(8)).toBe([...origin.sockets][0]?.remotePort);
  });

  it('passes on early payload, more than fits into a handshake', async () => {
    const proxy = await harness();
    const origin = await echo();
    const c = await client(proxy);
    const payload = Buffer.alloc(1_000_000, 'sockscope');
    c.send(GREETING, requestFor('127.0.0.1', origin.port), payload);
    c.socket.end();
    const received = await c.readAll();
    expect(received.subarray(12).equals(payload)).toBe(true);
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ bytes_sent: 1_000_000, bytes_received: 1_000_000 });
  });

  it('passes on early payload and the end behind it while the destination is slow', async () => {
    const dns = await dnsServer();
    const origin = await echo();
    dns.set('slow.test', { addresses: ['127.0.0.1'], delay_ms: 700 });
    const proxy = await harness({ config: { dns: { servers: [dns.address], family: 'ipv4' } } });
    const c = await client(proxy);
    c.send(GREETING, requestFor('slow.test', origin.port), 'early');
    c.socket.end();
    expect((await c.readAll()).subarray(12).toString()).toBe('early');
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ close_reason: 'client_eof', bytes_sent: 5, bytes_received: 5 });
    expect(closed?.connect_ms).toBeGreaterThan(600);
  });

  it('gives up on a slow destination when the client resets', async () => {
    const server = await silent();
    const proxy = await harness();
    const c = await client(proxy);
    c.send(GREETING, requestFor(server.host, server.port));
    await c.read(2);
    c.socket.resetAndDestroy();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ status: 'failed', close_reason: 'client_aborted' });
    await proxy.idle();
  });

  it('gives up on a slow destination soon after the client has ended without a word', async () => {
    const server = await silent();
    const proxy = await harness({ config: { dial: { connect_timeout_ms: 600_000 } } });
    const c = await client(proxy);
    c.send(GREETING, requestFor(server.host, server.port));
    await c.read(2);
    c.socket.end();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ status: 'failed', close_reason: 'client_aborted' });
  });

  it('answers with reply 04 when the connect timeout has passed', async () => {
    const server = await silent();
    const proxy = await harness({ config: { dial: { connect_timeout_ms: 100 } } });
    const c = await client(proxy);
    c.send(GREETING, requestFor(server.host, server.port));
    expect((await c.readAll()).toString('hex')).toBe('050005040001000000000000');
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({
      status: 'failed',
      close_reason: 'connect_timeout',
      error_code: 'ETIMEDOUT',
    });
    expect(closed?.connect_ms).toBeGreaterThanOrEqual(95);
    expect(closed?.connect_ms).toBeLessThan(9_500);
  });

  it('answers with reply 01 while the event sink takes no more, and records nothing', async () => {
    const proxy = await harness();
    const origin = await echo();
    proxy.setAccepting(false);
    const refused = await client(proxy);
    refused.send(GREETING, requestFor('127.0.0.1', origin.port));
    expect((await refused.readAll()).toString('hex')).toBe('050005010001000000000000');
    expect(await proxy.metric(FAILURES, { kind: 'sink_refused' })).toBe(1);
    expect(proxy.events).toEqual([]);
    proxy.setAccepting(true);
    await connected(proxy, origin);
  });

  it('closes a refused client that does not close, within the linger', async () => {
    const proxy = await harness({ config: { limits: { reply_linger_ms: 100 } } });
    const c = await client(proxy);
    c.send(5, 1, 9);
    await c.readAll();
    expect(c.received.length).toBe(0);
    // The client keeps its side open: the proxy must not wait for ever.
    await waitFor(() => proxy.server.connections === 0, 'the connection to be dropped');
  });

  it('waits for the refused clients of others when one source has more than there is room for', async () => {
    const proxy = await harness({ config: { limits: { max_lingering: 3 } } });
    const refused = async (source: string) => {
      const c = await client(proxy, source);
      c.send(5, 1, 9);
      await c.readAll();
      return c;
    };
    const [oldest] = [await refused('127.0.0.2'), await refused('127.0.0.2')];
    const bystander = await refused('127.0.0.3');
    await refused('127.0.0.2');
    await waitFor(() => proxy.server.connections === 3, 'one connection to be dropped');
    const isReset = (c: TestClient) => {
      c.send(0);
      return c.error !== null;
    };
    await waitFor(() => isReset(oldest), 'the oldest of the source with most to be reset');
    for (let n = 0; n < 3; n += 1) await refused('127.0.0.2').then(() => isReset(bystander));
    expect([bystander.error, proxy.server.connections]).toEqual([null, 3]);
  });

  it('sends its refusal to a client that is still sending', async () => {
    const proxy = await harness();
    const c = await client(proxy);
    c.send(GREETING, 5, 9, 0, 1, Buffer.alloc(2_000_000));
    expect((await c.readAll()).toString('hex')).toBe('050005070001000000000000');
    expect(c.error).toBeNull();
  });
});

describe('the handshake deadline', () => {
  it('is absolute: byte after byte does not extend it', async () => {
    const proxy = await harness({ config: { limits: { handshake_timeout_ms: 300 } } });
    const c = await client(proxy);
    const startedMs = performance.now();
    c.send(5, 255);
    const drip = setInterval(() => c.send(0), 20);
    cleanups.push(() => {
      clearInterval(drip);
    });
    await c.waitClosed();
    expect(performance.now() - startedMs).toBeGreaterThan(250);
    expect(performance.now() - startedMs).toBeLessThan(9_500);
    expect(await proxy.metric(FAILURES, { kind: 'timeout' })).toBe(1);
  });

  it('covers the time that a password takes to check', async () => {
    const proxy = await harness({
      config: { auth_policy: 'password', limits: { handshake_timeout_ms: 100 } },
      verify: () => new Promise(() => undefined),
    });
    const c = await client(proxy);
    c.send(5, 1, 2, 1, 1, 'u', 1, 'p');
    await c.waitClosed();
    expect(await proxy.metric(FAILURES, { kind: 'timeout' })).toBe(1);
    expect(await proxy.metric('sockscope_proxy_handshakes')).toBe(0);
  });

  it('does not touch a session', async () => {
    const proxy = await harness({ config: { limits: { handshake_timeout_ms: 1_500 } } });
    const origin = await echo();
    const c = await connected(proxy, origin);
    // A client that came later and sends nothing has met its deadline by then.
    await (await client(proxy)).waitClosed();
    c.send('still here');
    expect((await c.read(10)).toString()).toBe('still here');
  });
});

describe('limits', () => {
  it('spool_share refuses a source that fills the spool, blocked requests too, and no other source', async () => {
    const proxy = await harness({
      spool: { bytes: 73_000, maxBytes: 100_000, holdsLess: () => false },
      decide: () => ({ decision: 'block', rule: 'none' }),
    });
    const ask = async (source: string): Promise<string> => {
      const c = await client(proxy, source);
      c.send(GREETING, requestFor('127.0.0.1', 80));
      return (await c.readAll()).toString('hex').slice(0, 8);
    };
    for (let n = 0; n < 7; n += 1) expect(await ask('127.0.0.1')).toBe('05000502');
    expect(await ask('127.0.0.1')).toBe('05000501');
    expect(await ask('127.0.0.2')).toBe('05000502');
    expect(await proxy.metric(LIMITS, { limit: 'spool_share' })).toBe(1);
    expect(proxy.started()).toHaveLength(8);
  });

  it('early_payload_bytes refuses a client that sends much with its request, and no hello', async () => {
    const dns = await startDnsServer();
    cleanups.push(() => dns.stop());
    let answer = (): void => undefined;
    const after = new Promise<void>((resolve) => {
      answer = resolve;
    });
    dns.set('slow.test', { addresses: ['127.0.0.1'], after });
    const proxy = await harness({
      config: {
        limits: { early_payload_bytes: 64_000 },
        dns: { servers: [dns.address], family: 'ipv4', timeout_ms: 60_000 },
      },
    });
    const origin = await echo();
    const send = async (bytes: number): Promise<TestClient> => {
      const c = await client(proxy);
      const early = Buffer.alloc(bytes, 'x');
      c.send(Buffer.concat([GREETING, requestFor('slow.test', origin.port), early]));
      return c;
    };
    const first = await send(20_000);
    await waitFor(() => proxy.tracker.liveCount === 1, 'the first session');
    const second = await send(20_000);
    expect((await second.readAll())[3]).toBe(1);
    expect(proxy.closed()[0]).toMatchObject({
      close_reason: 'limit_exceeded',
      error_code: 'early_payload_bytes',
    });
    const hello = await send(500);
    await waitFor(() => proxy.tracker.liveCount === 2, 'the session of the hello');
    answer();
    expect((await hello.read(12))[3]).toBe(0);
    expect(await hello.read(500)).toHaveLength(500);
    await first.read(12);
    expect(await first.read(20_000)).toHaveLength(20_000);
    const later = await send(20_000);
    await later.read(12);
    expect(await later.read(20_000)).toHaveLength(20_000);
  });

  it.each([
    ['max_sessions', { max_sessions: 1 }],
    ['max_sessions_per_source', { max_sessions_per_source: 1 }],
  ] as const)(
    '%s refuses with reply 02, records it, and ends with the session',
    async (name, limits) => {
      const proxy = await harness({ config: { limits } });
      const origin = await echo();
      const first = await connected(proxy, origin);
      const second = await client(proxy);
      second.send(GREETING, requestFor('127.0.0.1', origin.port));
      expect((await second.readAll()).toString('hex')).toBe(`0500${NOT_ALLOWED}`);
      expect(proxy.closed()[0]).toMatchObject({
        status: 'failed',
        close_reason: 'limit_exceeded',
        error_code: name,
      });
      expect(await proxy.metric(LIMITS, { limit: name })).toBe(1);
      first.destroy();
      await proxy.waitClosed(2);
      await connected(proxy, origin);
    },
  );

  it('max_sessions_per_user counts each user separately, and never the anonymous user', async () => {
    const proxy = await harness({
      config: { auth_policy: 'optional', limits: { max_sessions_per_user: 1 } },
      verify: (user) => Promise.resolve({ ok: true, user }),
    });
    const origin = await echo();
    const open = async (user: string): Promise<number | undefined> => {
      const c = await client(proxy);
      c.send(5, 1, 2, 1, user.length, user, 1, 'p', requestFor('127.0.0.1', origin.port));
      return (await c.read(14))[5];
    };
    expect(await open('alice')).toBe(0);
    expect(await open('alice')).toBe(2);
    expect(await open('bob')).toBe(0);
    await connected(proxy, origin);
    await connected(proxy, origin);
    expect(await proxy.metric(LIMITS, { limit: 'max_sessions_per_user' })).toBe(1);
  });

  it('a failed connection gives its place back', async () => {
    const proxy = await harness({ config: { limits: { max_sessions: 1 } } });
    const origin = await echo();
    await origin.stop();
    for (let i = 0; i < 3; i += 1) {
      const c = await client(proxy);
      c.send(GREETING, requestFor('127.0.0.1', origin.port));
      expect((await c.readAll())[3]).toBe(5);
    }
  });

  it.each([
    ['max_handshakes', { max_handshakes: 2 }],
    ['max_handshakes_per_source', { max_handshakes_per_source: 2 }],
  ] as const)('%s drops connections above it until one is done', async (name, limits) => {
    const proxy = await harness({ config: { limits } });
    const origin = await echo();
    const first = await client(proxy);
    await client(proxy);
    await waitFor(() => proxy.server.connections === 2, 'two connections');
    const third = await client(proxy);
    await third.waitClosed();
    expect(await proxy.metric(LIMITS, { limit: name })).toBe(1);
    first.send(GREETING, requestFor('127.0.0.1', origin.port));
    await first.read(12);
    await connected(proxy, origin);
  });

  it('a refused client keeps its place until its connection is closed', async () => {
    const proxy = await harness({ config: { limits: { max_handshakes_per_source: 2 } } });
    const refused = [await client(proxy), await client(proxy)];
    for (const c of refused) c.send(5, 1, 9);
    for (const c of refused) {
      expect([...(await c.readAll())]).toEqual([5, 0xff]);
    }
    await (await client(proxy)).waitClosed();
    expect(await proxy.metric(LIMITS, { limit: 'max_handshakes_per_source' })).toBe(1);
    for (const c of refused) c.destroy();
    await proxy.idle();
    await connected(proxy, await echo());
    expect(await proxy.metric(FAILURES, { kind: 'no_acceptable_method' })).toBe(2);
    expect(await proxy.metric(FAILURES, { kind: 'reset' })).toBe(0);
  });

  it('two sources that hold all handshakes lose their oldest to a third source', async () => {
    const proxy = await harness({
      config: { limits: { max_handshakes: 4, max_handshakes_per_source: 2 } },
    });
    const origin = await echo();
    const flood: TestClient[] = [];
    for (const source of ['127.0.0.2', '127.0.0.2', '127.0.0.3', '127.0.0.3']) {
      flood.push(await client(proxy, source));
    }
    await waitFor(() => proxy.server.connections === 4, 'four connections');
    const other = await client(proxy, '127.0.0.4');
    other.send(GREETING, requestFor('127.0.0.1', origin.port));
    expect((await other.read(12))[3]).toBe(0);
    await waitFor(() => flood.some((c) => c.hasEnded), 'a connection that gave its place up');
    expect(flood.filter((c) => c.hasEnded)).toHaveLength(1);
    expect(await proxy.metric(LIMITS, { limit: 'max_handshakes' })).toBe(1);
  });

  it('max_handshakes_per_source counts each address apart', async () => {
    const proxy = await harness({ config: { limits: { max_handshakes_per_source: 1 } } });
    const origin = await echo();
    await client(proxy, '127.0.0.1');
    const other = await client(proxy, '127.0.0.2');
    other.send(GREETING, requestFor('127.0.0.1', origin.port));
    expect((await other.read(12))[3]).toBe(0);
  });

  it('a client that leaves in the middle of its handshake gives its place back', async () => {
    const proxy = await harness({ config: { limits: { max_handshakes: 1 } } });
    const first = await client(proxy);
    first.send(5, 1);
    await waitFor(() => proxy.server.connections === 1, 'a connection');
    first.socket.resetAndDestroy();
    await proxy.idle();
    expect(await proxy.metric('sockscope_proxy_handshakes')).toBe(0);
    // libuv reports a reset that comes along with the last bytes as an end.
    const kinds = await Promise.all(
      ['reset', 'eof'].map((kind) => proxy.metric(FAILURES, { kind })),
    );
    expect(kinds.toSorted((a, b) => a - b)).toEqual([0, 1]);
  });
});

describe('the PROXY protocol', () => {
  const header = Buffer.from('PROXY TCP4 203.0.113.9 127.0.0.1 40000 1080\r\n');

  it('gives sessions the address of the client behind the load balancer', async () => {
    const proxy = await harness({ config: { listener: { proxy_protocol: true } } });
    const origin = await echo();
    const c = await client(proxy);
    c.send(header, GREETING, requestFor('127.0.0.1', origin.port), 'hi');
    expect((await c.read(14)).subarray(12).toString()).toBe('hi');
    expect(proxy.started()[0]).toMatchObject({ source_ip: '203.0.113.9', source_port: 40_000 });
  });

  it('works byte by byte', async () => {
    const proxy = await harness({ config: { listener: { proxy_protocol: true } } });
    const origin = await echo();
    const c = await client(proxy);
    for (const byte of bytesOf(header, GREETING, requestFor('127.0.0.1', origin.port))) {
      c.send(byte);
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    expect((await c.read(12))[3]).toBe(0);
    expect(proxy.started()[0]).toMatchObject({ source_ip: '203.0.113.9' });
  });

  it('drops a connection that does not send a header', async () => {
    const proxy = await harness({ config: { listener: { proxy_protocol: true } } });
    const c = await client(proxy);
    c.send(GREETING);
    await c.waitClosed();
    expect(c.received.length).toBe(0);
    expect(await proxy.metric(FAILURES, { kind: 'bad_proxy_header' })).toBe(1);
  });

  it('is expected only from the load balancers if they are listed', async () => {
    const proxy = await harness({
      config: { listener: { proxy_protocol: true, proxy_protocol_from: ['127.0.0.2/32'] } },
    });
    const origin = await echo();
    const direct = await client(proxy, '127.0.0.1');
    direct.send(GREETING, requestFor('127.0.0.1', origin.port));
    expect((await direct.read(12))[3]).toBe(0);
    const balanced = await client(proxy, '127.0.0.2');
    balanced.send(header, GREETING, requestFor('127.0.0.1', origin.port));
    expect((await balanced.read(12))[3]).toBe(0);
    const pretender = await client(proxy, '127.0.0.1');
    pretender.send(header);
    await pretender.waitClosed();
    expect(proxy.started().map((s) => s.source_ip)).toEqual(['127.0.0.1', '203.0.113.9']);
  });

  it('counts handshakes by the client, not by the load balancer', async () => {
    const proxy = await harness({
      config: { listener: { proxy_protocol: true }, limits: { max_handshakes_per_source: 1 } },
    });
    for (const last of [1, 2, 3]) {
      const c = await client(proxy);
      c.send(`PROXY TCP4 203.0.113.${last} 127.0.0.1 40000 1080\r\n`, GREETING);
      await c.read(2);
    }
    const again = await client(proxy);
    again.send('PROXY TCP4 203.0.113.1 127.0.0.1 40001 1080\r\n', GREETING);
    await again.waitClosed();
    expect(await proxy.metric(LIMITS, { limit: 'max_handshakes_per_source' })).toBe(1);
  });
});

describe('a change of rules or users', () => {
  it('ends the sessions that are forbidden now, and no other', async () => {
    const origin = await echo();
    const other = await echo();
    let blockedPort = 0;
    const proxy = await harness({
      decide: ({ dest_port }) =>
        dest_port === blockedPort
          ? { decision: 'block', rule: 'new' }
          : { decision: 'allow', rule: null },
    });
    const doomed = await connected(proxy, origin);
    const spared = await connected(proxy, other);
    blockedPort = origin.port;
    proxy.changed();
    await doomed.waitClosed();
    expect(proxy.closed()).toHaveLength(1);
    expect(proxy.closed()[0]).toMatchObject({
      status: 'closed',
      close_reason: 'acl_revoked',
      dest_port: origin.port,
      acl_decision: 'allow',
    });
    spared.send('alive');
    expect((await spared.read(5)).toString()).toBe('alive');
  });

  it('ends the sessions of a removed user', async () => {
    const origin = await echo();
    const proxy = await harness({
      config: { auth_policy: 'optional' },
      users: ['alice'],
      verify: (user) => Promise.resolve({ ok: true, user }),
    });
    const c = await client(proxy);
    c.send(5, 1, 2, 1, 5, 'alice', 1, 'p', requestFor('127.0.0.1', origin.port));
    await c.read(14);
    const anonymous = await connected(proxy, origin);
    proxy.removeUser('alice');
    await c.waitClosed();
    expect(proxy.closed()[0]).toMatchObject({ user: 'alice', close_reason: 'acl_revoked' });
    anonymous.send('alive');
    expect((await anonymous.read(5)).toString()).toBe('alive');
  });

  it('ends a session by the name that a search list made of the requested one', async () => {
    const dns = await dnsServer();
    const origin = await echo();
    dns.set('db.corp.test', { addresses: ['127.0.0.1'] });
    const dir = mkdtempSync(join(tmpdir(), 'sockscope-server-'));
    cleanups.push(() => {
      rmSync(dir, { recursive: true });
    });
    const resolvConf = join(dir, 'resolv.conf');
    writeFileSync(resolvConf, 'search corp.test\n');
    let isBlocked = false;
    const proxy = await harness({
      config: { dns: { servers: [dns.address], family: 'ipv4', resolv_conf: resolvConf } },
      decide: ({ resolved_name }) => ({
        decision: isBlocked && resolved_name === 'db.corp.test' ? 'block' : 'allow',
        rule: null,
      }),
    });
    const c = await client(proxy);
    c.send(GREETING, requestFor('db', origin.port));
    expect((await c.read(12))[3]).toBe(0);
    isBlocked = true;
    proxy.changed();
    await c.waitClosed();
    expect(proxy.closed()[0]).toMatchObject({ dest_host: 'db', close_reason: 'acl_revoked' });
  });

  it('keeps a session whose address was spelt oddly, until a rule blocks the address', async () => {
    const origin = await echo();
    let decide = loopbackRules();
    const proxy = await harness({ decide: (request) => decide(request) });
    const c = await client(proxy);
    c.send(GREETING, requestFor('１２７.０.０.１', origin.port));
    expect((await c.read(12))[3]).toBe(0);
    proxy.changed();
    await turn();
    c.send('alive');
    expect((await c.read(5)).toString()).toBe('alive');
    decide = loopbackRules({ destinations: ['127.0.0.1'] });
    proxy.changed();
    await c.waitClosed();
    expect(proxy.closed()[0]).toMatchObject({
      dest_ip: '127.0.0.1',
      close_reason: 'acl_revoked',
    });
  });

  it('opens no session for a removed user, even after the login', async () => {
    const origin = await echo();
    const proxy = await harness({
      config: { auth_policy: 'password' },
      users: ['alice'],
      verify: (user) => Promise.resolve({ ok: true, user }),
    });
    const c = await client(proxy);
    c.send(5, 1, 2, 1, 5, 'alice', 1, 'p');
    await c.read(4);
    proxy.removeUser('alice');
    c.send(requestFor('127.0.0.1', origin.port));
    expect((await c.readAll()).toString('hex')).toBe(NOT_ALLOWED);
    expect(proxy.closed()[0]).toMatchObject({ user: 'alice', close_reason: 'acl_rejected' });
  });

  it('ends an attempt to connect under way', async () => {
    const server = await silent();
    let isBlocked = false;
    const proxy = await harness({
      decide: () => ({ decision: isBlocked ? 'block' : 'allow', rule: null }),
    });
    const c = await client(proxy);
    c.send(GREETING, requestFor(server.host, server.port));
    await waitFor(() => proxy.tracker.liveCount === 1, 'a session');
    isBlocked = true;
    proxy.changed();
    expect((await c.readAll()).toString('hex')).toBe(`0500${NOT_ALLOWED}`);
    expect(proxy.closed()[0]).toMatchObject({ close_reason: 'acl_revoked' });
  });

  it('counts for an address that was being resolved', async () => {
    const dns = await dnsServer();
    const origin = await echo();
    dns.set('slow.test', { addresses: ['127.0.0.1'], delay_ms: 1_500 });
    let isBlocked = false;
    const proxy = await harness({
      config: { dns: { servers: [dns.address], family: 'ipv4' } },
      decide: ({ dest_ip }) =>
        isBlocked && dest_ip !== null
          ? { decision: 'block', rule: 'late' }
          : { decision: 'allow', rule: null },
    });
    const c = await client(proxy);
    c.send(GREETING, requestFor('slow.test', origin.port));
    await waitFor(() => proxy.tracker.liveCount === 1, 'a session');
    isBlocked = true;
    proxy.changed();
    expect((await c.readAll()).toString('hex')).toBe(`0500${NOT_ALLOWED}`);
    expect(proxy.closed()[0]).toMatchObject({
      close_reason: 'acl_rejected',
      acl_rule_matched: 'late',
      dest_ip: '127.0.0.1',
    });
    expect(origin.sockets.size).toBe(0);
  });
});

describe('a stop', () => {
  it('accepts no connections, and lets handshakes and sessions end by themselves', async () => {
    const dns = await dnsServer();
    const origin = await echo();
    dns.set('late.test', { addresses: ['127.0.0.1'] });
    const proxy = await harness({
      config: { drain_timeout_ms: 60_000, dns: { servers: [dns.address], family: 'ipv4' } },
    });
    const c = await connected(proxy, origin);
    const half = await client(proxy);
    half.send(GREETING);
    expect([...(await half.read(2))]).toEqual([5, 0]);
    const stopped = proxy.server.stop();
    await expect(TestClient.connect(proxy.address)).rejects.toThrow(/ECONNREFUSED/);
    half.send(requestFor('late.test', origin.port), 'asked late');
    expect((await half.read(20)).subarray(10).toString()).toBe('asked late');
    half.socket.end();
    await half.waitClosed();
    c.send('last words');
    expect((await c.read(10)).toString()).toBe('last words');
    c.socket.end();
    await stopped;
    expect(proxy.closed().map((s) => s.close_reason)).toEqual(['client_eof', 'client_eof']);
  });

  it('waits for the end of a handshake although no session is open', async () => {
    const proxy = await harness({ config: { drain_timeout_ms: 60_000 } });
    const origin = await echo();
    const c = await client(proxy);
    c.send(GREETING);
    await c.read(2);
    const stopped = proxy.server.stop();
    c.send(requestFor(origin.host, origin.port), 'x');
    expect((await c.read(11)).at(-1)).toBe(120);
    c.socket.end();
    await stopped;
    expect(proxy.closed()[0]).toMatchObject({ close_reason: 'client_eof' });
  });

  it('ends the remaining handshakes after the drain time', async () => {
    const proxy = await harness({ config: { drain_timeout_ms: 200 } });
    const half = await client(proxy);
    half.send(5);
    await waitFor(() => proxy.server.connections === 1, 'the handshake');
    await proxy.server.stop();
    await half.waitClosed();
    expect(await proxy.metric(FAILURES, { kind: 'shutdown' })).toBe(1);
  });

  it('ends the remaining sessions after the drain time with server_shutdown', async () => {
    const server = await silent();
    const proxy = await harness({ config: { drain_timeout_ms: 200 } });
    const origin = await echo();
    const c = await connected(proxy, origin);
    const dialing = await client(proxy);
    dialing.send(GREETING, requestFor(server.host, server.port));
    await waitFor(() => proxy.tracker.liveCount === 2, 'two sessions');
    const startedMs = performance.now();
    await proxy.server.stop();
    expect(performance.now() - startedMs).toBeGreaterThan(180);
    expect(performance.now() - startedMs).toBeLessThan(60_000);
    await c.waitClosed();
    expect(proxy.closed().map((s) => s.close_reason)).toEqual([
      'server_shutdown',
      'server_shutdown',
    ]);
    await proxy.idle();
  });
});

describe('a relayed session', () => {
  it('keeps a half-close open for the answer', async () => {
    const proxy = await harness();
    const origin = await startServer((socket) => {
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      socket.on('end', () => socket.end(`got ${Buffer.concat(chunks).length}`));
    });
    cleanups.push(() => origin.stop());
    const c = await connected(proxy, origin);
    c.send(Buffer.alloc(100_000));
    c.socket.end();
    expect((await c.readAll()).toString()).toBe('got 100000');
  });

  it('passes a destination on that speaks first', async () => {
    const proxy = await harness();
    const origin = await startServer((socket) => socket.end('220 ready\r\n'));
    cleanups.push(() => origin.stop());
    const c = await connected(proxy, origin);
    expect((await c.readAll()).toString()).toBe('220 ready\r\n');
    c.destroy();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ bytes_sent: 0, bytes_received: 11 });
  });

  it('leaves no listener and no connection behind after many sessions', async () => {
    const proxy = await harness();
    const origin = await echo();
    for (let i = 0; i < 50; i += 1) {
      const c = await connected(proxy, origin);
      c.send('x');
      await c.read(1);
      c.destroy();
    }
    await proxy.waitClosed(50);
    await proxy.idle();
    await waitFor(() => origin.sockets.size === 0, 'no connection at the origin');
    const [socket] = [...origin.sockets];
    if (socket !== undefined) await once(socket, 'close');
    expect(proxy.closed().every((s) => s.bytes_sent === 1 && s.bytes_received === 1)).toBe(true);
  });
});
