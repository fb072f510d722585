import type { Socket } from 'node:net';
import { loadConfig } from '@sockscope/runtime';
import { afterEach, describe, expect, it } from 'vitest';
import type { NameResolver } from '../dns/resolver.js';
import { DescriptorBudget } from '../limits/descriptors.js';
import type { Target } from '../socks5/target.js';
import { startEcho } from '../testing/harness.js';
import type { TestServer } from '../testing/harness.js';
import { startSilentServer } from '../testing/silent-server.js';
import { dialConfig } from './config.js';
import type { DialConfig } from './config.js';
import { createDialer } from './dialer.js';
import type { Dial } from './dialer.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(cleanups.splice(0).map((cleanup) => cleanup()));
});

type Outcome =
  | { readonly ip: string; readonly connectMs: number; readonly upstream: Socket }
  | { readonly failure: string; readonly errorCode: string | null };

interface Attempt {
  readonly asked: string[];
  readonly dial: Dial;
  readonly outcome: Promise<Outcome>;
}

const resolvedTo = (addresses: readonly string[] | string): NameResolver => ({
  stats: { active: 0, queued: 0, cached: 0, hits: 0, answered: 0, failed: 0, silent: 0 },
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
  resolve(_name, _networks, waiter) {
    if (typeof addresses === 'string') waiter.resolveFailed(addresses);
    else if (addresses.length > 0) waiter.resolved(addresses, null);
    return null;
  },
});

function dial(
  target: Partial<Target>,
  options: {
    readonly config?: Partial<DialConfig>;
    readonly resolver?: NameResolver;
    readonly descriptors?: DescriptorBudget;
    readonly mayDial?: (ip: string) => boolean;
  } = {},
): Attempt {
  const asked: string[] = [];
  const dialer = createDialer(
    { ...loadConfig(dialConfig, {}), ...options.config },
    {
      resolver: options.resolver ?? resolvedTo('ENOTFOUND'),
      descriptors: options.descriptors ?? new DescriptorBudget(1_000),
    },
  );
  let settle: (outcome: Outcome) => void = () => undefined;
  const outcome = new Promise<Outcome>((resolve) => {
    settle = resolve;
  });
  const made = dialer.create({
    mayDial(ip) {
      asked.push(ip);
      return options.mayDial?.(ip) ?? true;
    },
    dialed(upstream, ip, connectMs) {
      cleanups.push(() => upstream.destroy());
      settle({ upstream, ip, connectMs });
    },
    dialFailed(failure, errorCode) {
      settle({ failure, errorCode });
    },
  });
  made.begin({ host: 'x', ip: null, name: null, port: 0, ...target }, ['192.0.2.9']);
  return { asked, dial: made, outcome };
}

async function echo(host?: string, port?: number): Promise<TestServer> {
  const server = await startEcho(host, port);
  cleanups.push(() => server.stop());
  return server;
}

async function silent(host?: string): Promise<{ host: string; port: number }> {
  const server = await startSilentServer(host);
  cleanups.push(() => {
    server.stop();
  });
  return server;
}

async function closedPort(): Promise<number> {
  const server = await startEcho();
  await server.stop();
  return server.port;
}

describe('a dial', () => {
  it('connects to a literal address and hands over an unread socket', async () => {
    const server = await echo();
    const outcome = await dial({ ip: '127.0.0.1', port: server.port }).outcome;
    expect(outcome).toMatchObject({ ip: '127.0.0.1' });
    if (!('upstream' in outcome)) throw new Error('not connected');
    expect(outcome.upstream.readableFlowing).not.toBe(true);
    expect(outcome.upstream.allowHalfOpen).toBe(true);
    expect(outcome.connectMs).toBeGreaterThanOrEqual(0);
  });

  it('reports a refused connection', async () => {
    const outcome = await dial({ ip: '127.0.0.1', port: await closedPort() }).outcome;
    expect(outcome).toEqual({ failure: 'connect_failed', errorCode: 'ECONNREFUSED' });
  });

  it('reports bytes that are no name without a query', async () => {
    const { asked, outcome } = dial({ host: '\\xff' });
    expect(await outcome).toEqual({ failure: 'dns_failed', errorCode: 'EBADNAME' });
    expect(asked).toEqual([]);
  });

  it('passes on why a name was not resolved', async () => {
    const { outcome } = dial({ name: 'x.example' }, { resolver: resolvedTo('ESERVFAIL') });
    expect(await outcome).toEqual({ failure: 'dns_failed', errorCode: 'ESERVFAIL' });
  });

  it('gives up on a resolver that never answers', async () => {
    const { outcome } = dial(
      { name: 'x.example' },
      { resolver: resolvedTo([]), config: { connect_timeout_ms: 50 } },
    );
    expect(await outcome).toEqual({ failure: 'dns_failed', errorCode: 'ETIMEOUT' });
  });

  it('gives up on an address that does not answer, within the connect timeout', async () => {
    const server = await silent();
    const startedMs = performance.now();
    const { outcome } = dial(
      { ip: server.host, port: server.port },
      { config: { connect_timeout_ms: 100 } },
    );
    expect(await outcome).toEqual({ failure: 'connect_timeout', errorCode: 'ETIMEDOUT' });
    expect(performance.now() - startedMs).toBeLessThan(60_000);
  });

  it('tries the next address at once if one refuses', async () => {
    const server = await echo('127.0.0.2');
    const { asked, outcome } = dial(
      { name: 'x.example', port: server.port },
      {
        resolver: resolvedTo(['127.0.0.1', '127.0.0.2']),
        config: { attempt_delay_ms: 5_000 },
      },
    );
    expect(await outcome).toMatchObject({ ip: '127.0.0.2' });
    expect(asked).toEqual(['127.0.0.1', '127.0.0.2']);
  });

  it('tries the next address after the head start of one that does not answer', async () => {
    const server = await silent('127.0.0.1');
    const good = await echo('127.0.0.2', server.port);
    const startedMs = performance.now();
    const { outcome } = dial(
      { name: 'x.example', port: good.port },
      {
        resolver: resolvedTo(['127.0.0.1', '127.0.0.2']),
        config: { attempt_delay_ms: 50, connect_timeout_ms: 600_000 },
      },
    );
    expect(await outcome).toMatchObject({ ip: '127.0.0.2' });
    expect(performance.now() - startedMs).toBeGreaterThan(45);
    expect(performance.now() - startedMs).toBeLessThan(60_000);
  });

  it('tries no more addresses than it may', async () => {
    const port = await closedPort();
    const { asked, outcome } = dial(
      { name: 'x.example', port },
      {
        resolver: resolvedTo(['127.0.0.1', '127.0.0.2', '127.0.0.3']),
        config: { max_addresses: 2 },
      },
    );
    expect(await outcome).toEqual({ failure: 'connect_failed', errorCode: 'ECONNREFUSED' });
    expect(asked).toEqual(['127.0.0.1', '127.0.0.2']);
  });

  it.each([
    ['three addresses', 1_000, 3],
    ['one address if descriptors are short', 1, 1],
  ])('holds a descriptor for no more than %s at once', async (_, limit, most) => {
    const server = await silent('0.0.0.0');
    const descriptors = new DescriptorBudget(limit);
    let used = 0;
    const { asked, outcome } = dial(
      { name: 'x.example', port: server.port },
      {
        descriptors,
        resolver: resolvedTo([1, 2, 3, 4, 5, 6, 7, 8].map((n) => `127.0.1.${n}`)),
        config: { connect_timeout_ms: 3_000, attempt_delay_ms: 10 },
        mayDial: () => {
          used = Math.max(used, descriptors.used);
          return true;
        },
      },
    );
    expect(await outcome).toEqual({ failure: 'connect_timeout', errorCode: 'ETIMEDOUT' });
    // Each was tried, and has made room for the next.
    expect(asked).toHaveLength(8);
    expect(used).toBeLessThan(most);
    expect(descriptors.used).toBe(0);
  });

  it('passes over addresses that the ACL blocks', async () => {
    const server = await echo('127.0.0.2');
    const { outcome } = dial(
      { name: 'x.example', port: server.port },
      {
        resolver: resolvedTo(['127.0.0.1', '127.0.0.2']),
        mayDial: (ip) => ip !== '127.0.0.1',
      },
    );
    expect(await outcome).toMatchObject({ ip: '127.0.0.2' });
  });

  it('is rejected if the ACL blocks every address, and connects to none', async () => {
    const server = await echo();
    const { outcome } = dial(
      { name: 'x.example', port: server.port },
      { resolver: resolvedTo(['127.0.0.1', '127.0.0.2']), mayDial: () => false },
    );
    expect(await outcome).toEqual({ failure: 'acl_rejected', errorCode: null });
    expect(server.sockets.size).toBe(0);
  });

  it('reports the failure, not the block, if one address was blocked and one failed', async () => {
    const { outcome } = dial(
      { name: 'x.example', port: await closedPort() },
      {
        resolver: resolvedTo(['127.0.0.1', '127.0.0.2']),
        mayDial: (ip) => ip !== '127.0.0.2',
      },
    );
    expect(await outcome).toEqual({ failure: 'connect_failed', errorCode: 'ECONNREFUSED' });
  });

  it('makes no callback after it was cancelled, and leaves no socket', async () => {
    const server = await silent();
    const target = { ip: server.host, port: server.port };
    const options = { config: { connect_timeout_ms: 50 } };
    const { dial: made, outcome } = dial(target, options);
    let isTold = false;
    void outcome.then(() => {
      isTold = true;
    });
    made.cancel();
    // A later dial has run into its timeout by then.
    expect(await dial(target, options).outcome).toMatchObject({ failure: 'connect_timeout' });
    expect(isTold).toBe(false);
  });
});
