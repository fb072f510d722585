import { openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createLogger, createRegistry } from '@sockscope/runtime';
import { afterEach, describe, expect, it } from 'vitest';
import { relayConfig } from '../config.js';
import { createRelay } from '../create-relay.js';
import type { Relay } from '../relay.js';
import {
  countingSession,
  createRelayBench,
  receiveAll,
  sendRandom,
  until,
} from '../testing/relay-bench.js';
import type { RelayBench } from '../testing/relay-bench.js';
import { loadLibc } from './libc.js';
import { createSpliceRelay } from './splice-relay.js';
import type { SpliceRelay } from './splice-relay.js';
import { SpliceThread, WORKER_URL } from './thread.js';

const logger = createLogger('test', { level: 'silent' });
const LIMITS = { idle_timeout_ms: 0, half_close_linger_ms: 0, keepalive_ms: 0 };
const SPLICE = { pipe_bytes: 262_144, max_pipes: 64, after_bytes: 10_000, threads: 1 };
const SIZE = 100_000;

function threadOf(code: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`);
}

function relayWith(workerUrl?: URL, threads = 1): SpliceRelay {
  return createSpliceRelay(
    { ...LIMITS, splice: { ...SPLICE, threads } },
    { libc: loadLibc(), logger, ...(workerUrl === undefined ? {} : { workerUrl }) },
  );
}

describe.runIf(process.platform === 'linux')('the splice relay', () => {
  const open: (RelayBench | Relay)[] = [];
  const begin = async (relay: Relay): Promise<RelayBench> => {
    await relay.start();
    const bench = await createRelayBench(relay);
    open.push(bench, relay);
    return bench;
  };
  afterEach(async () => {
    for (const one of open.splice(0)) await one.stop();
  });

  it('keeps a small session in this process and hands over a session with much traffic', async () => {
    const relay = relayWith();
    const bench = await begin(relay);
    const small = await bench.open();
    small.upstream.resume();
    small.client.write('little');
    await until(() => small.session.bytesSent === 6);
    expect(relay.sessions).toBe(0);

    const large = await bench.open();
    const received = receiveAll(large.upstream);
    const sha256 = await sendRandom(large.client, SIZE);
    await until(() => relay.sessions === 1);
    large.client.end();
    expect(await received).toEqual({ bytes: SIZE, sha256, how: 'end' });
    large.upstream.end();
    expect(await large.end).toEqual({ reason: 'client_eof', errorCode: null });
    expect(large.session).toMatchObject({ bytesSent: SIZE, bytesReceived: 0 });
    expect(relay.sessions).toBe(0);
  });

  it('hands over a session that is half-closed, and remembers which end ended first', async () => {
    const relay = relayWith();
    const bench = await begin(relay);
    const { client, upstream, session, end } = await bench.open();
    const atUpstream = receiveAll(upstream);
    const atClient = receiveAll(client);
    client.end('request');
    expect((await atUpstream).bytes).toBe(7);
    const sha256 = await sendRandom(upstream, SIZE);
    await until(() => relay.sessions === 1);
    upstream.end();
    expect(await atClient).toEqual({ bytes: SIZE, sha256, how: 'end' });
    expect(await end).toEqual({ reason: 'client_eof', errorCode: null });
    expect(session).toMatchObject({ bytesSent: 7, bytesReceived: SIZE });
  });

  it('spreads sessions over its threads', async () => {
    const relay = relayWith(undefined, 2);
    const bench = await begin(relay);
    const sessions = await Promise.all(Array.from({ length: 6 }, () => bench.open()));
    for (const { client, upstream } of sessions) {
      upstream.resume();
      client.write(Buffer.alloc(SIZE));
    }
    await until(() => relay.sessions === 6);
    expect(relay.threads).toBe(2);
    for (const { client, upstream } of sessions) {
      client.end();
      upstream.end();
    }
    for (const { end, session } of sessions) {
      await end;
      expect(session.bytesSent).toBe(SIZE);
    }
  });

  it('ends the sessions of a thread that dies, and continues without it', async () => {
    const relay = relayWith(
      threadOf(
        // The first word counts commands: it dies of its first session.
        `import { parentPort, workerData } from 'node:worker_threads';
         parentPort.postMessage('ready');
         setInterval(() => {
           if (Atomics.load(workerData.memory.control, 0) > 0) throw new Error('as the test wants');
         }, 5);`,
      ),
    );
    const bench = await begin(relay);
    const lost = await bench.open();
    const atClient = receiveAll(lost.client);
    lost.client.write(Buffer.alloc(SIZE));
    expect(await lost.end).toEqual({ reason: 'internal_error', errorCode: null });
    expect((await atClient).how).not.toBe('');
    expect(relay.threads).toBe(0);
    lost.upstream.destroy();

    const { client, upstream, session, end } = await bench.open();
    const received = receiveAll(upstream);
    const sha256 = await sendRandom(client, SIZE);
    client.end();
    expect(await received).toEqual({ bytes: SIZE, sha256, how: 'end' });
    upstream.end();
    await end;
    expect(session.bytesSent).toBe(SIZE);
  });

  it('ends the one session that it cannot watch, and continues with the others', async () => {
    let died = false;
    const thread = new SpliceThread({
      libc: loadLibc(),
      pipes: { pipe_bytes: 65_536, max_pipes: 1 },
      workerUrl: WORKER_URL,
      onOpen: () => undefined,
      onEnd: () => undefined,
      onDeath: () => {
        died = true;
      },
    });
    await thread.start();
    // epoll takes no regular file.
    const openFile = (): number => openSync(fileURLToPath(import.meta.url), 'r');
    for (const firstEnded of [null, 'client'] as const) {
      const fds = { client: openFile(), upstream: openFile() };
      const end = thread.open(countingSession(), fds, firstEnded);
      expect(await end).toEqual({ reason: 'internal_error', errorCode: 'EPERM' });
    }
    expect(thread.running).toBe(true);
    expect(thread.count).toBe(0);
    await thread.stop();
    expect(died).toBe(false);
  });

  it('runs without threads if they do not start', async () => {
    const relay = relayWith(threadOf(`throw new Error('as the test wants');`));
    const bench = await begin(relay);
    expect(relay.threads).toBe(0);
    expect(relay.name).toBe('stream');
    const { client, upstream, end } = await bench.open();
    const received = receiveAll(upstream);
    const sha256 = await sendRandom(client, SIZE);
    client.end();
    expect(await received).toEqual({ bytes: SIZE, sha256, how: 'end' });
    upstream.end();
    await end;
  });

  it('ends open sessions when it stops', async () => {
    const relay = relayWith();
    await relay.start();
    const bench = await createRelayBench(relay);
    const { client, upstream, end } = await bench.open();
    const atClient = receiveAll(client);
    upstream.resume();
    client.write(Buffer.alloc(SIZE));
    await until(() => relay.sessions === 1);
    await relay.stop();
    expect((await end).reason).toBe('internal_error');
    expect((await atClient).how).toBe('ECONNRESET');
    await bench.stop();
  });
});

describe('the choice of a relay', () => {
  const chosen = async (relay: string): Promise<[string, string]> => {
    const config = relayConfig.parse({ relay, splice: {} });
    const metrics = createRegistry('test');
    const { name } = createRelay(config, { logger, metrics });
    return [name, await metrics.getSingleMetricAsString('sockscope_proxy_relay_info')];
  };

  it('uses the configured relay and shows it in the metric', async () => {
    const [name, metric] = await chosen('stream');
    expect(name).toBe('stream');
    expect(metric).toMatch(/relay="stream".* 1$/m);
  });

  it('takes splice by itself on Linux alone', async () => {
    const [name, metric] = await chosen('auto');
    expect(name).toBe(process.platform === 'linux' ? 'splice' : 'stream');
    expect(metric).toContain(`relay="${name}"`);
  });
});
