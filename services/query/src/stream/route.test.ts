import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { createRegistry } from '@sockscope/runtime';
import { streamSessionExample } from '@sockscope/schemas/api';
import { fastify } from 'fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { LOCAL } from '../auth/principal.js';
import type { Context } from '../http/context.js';
import { NO_MASK } from '../mask/mask.js';
import type { Mask } from '../mask/mask.js';
import { asStored } from '../sql/stored.js';
import { createShares } from '../store/shares.js';
import { BEHIND_MAX_BYTES, DRAIN_MAX_MS, REPLAY_MAX } from './config.js';
import type { LiveEvent, Position } from './event.js';
import type { Listener } from './hub.js';
import { createStreamMetrics } from './metrics.js';
import { serveStream } from './route.js';
import type { StreamDeps } from './route.js';

const WAIT = { timeout: 60_000 };

let app: FastifyInstance;
let clients: Socket[];
/** Listeners of the hub that are there, in their order. */
let listeners: Listener[];
let mask: Mask;
let catchUpMaxMs: number;

const eventsOf = (count: number): LiveEvent[] =>
  Array.from({ length: count }, (_, n) => ({
    type: 'changed',
    n,
    storedMs: n,
    session: {
      ...streamSessionExample,
      user: asStored('alice'),
      source_ip: asStored('192.0.2.1'),
    },
  }));

beforeEach(async () => {
  clients = [];
  listeners = [];
  mask = NO_MASK;
  catchUpMaxMs = 60_000;
  app = fastify();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  serveStream(app, {
    hub: {
      name: 'h',
      start: () => undefined,
      stop: async () => undefined,
      join: async (listener: Listener, since: Position | null) => {
        listeners.push(listener);
        if (since !== null) listener.events(eventsOf(REPLAY_MAX));
        return () => {
          listeners = listeners.filter((each) => each !== listener);
        };
      },
    },
    gates: { resume: { pass: async (_visitor: unknown, work: () => Promise<unknown>) => work() } },
    config: {
      clients_max: 10,
      buffer_max_bytes: 1_000_000,
      counters_interval_ms: 60_000,
      get catch_up_max_ms() {
        return catchUpMaxMs;
      },
    },
    metrics: createStreamMetrics(createRegistry('query')),
    shares: createShares(10),
    now: () => 0,
    contextOf: (request: FastifyRequest, reply: unknown) =>
      ({
        signal: request.signal,
        nowMs: 0,
        principal: LOCAL,
        share: null,
        mask,
        onlyUsers: null,
        arrivedMs: 0,
        request,
        reply,
      }) as Context,
    isStillAllowed: async () => true,
  } as unknown as StreamDeps);
  await app.listen({ host: '127.0.0.1', port: 0 });
});

afterEach(async () => {
  for (const client of clients) client.destroy();
  await app.close();
});

function listen(headers = ''): Socket {
  const client = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => undefined);
  client.write(`GET /stream?type=changed HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`);
  clients.push(client);
  return client;
}

it('a client that reads missed events more slowly than new ones come is cut off before they fill the memory', async () => {
  const client = listen('Last-Event-ID: 1\r\n');
  client.pause();
  await vi.waitFor(() => {
    expect(listeners).toHaveLength(1);
  }, WAIT);
  let given = 0;
  while (listeners.length > 0 && given < 4 * BEHIND_MAX_BYTES) {
    const events = eventsOf(1_000);
    given += JSON.stringify(events).length;
    listeners[0]?.events(events);
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  expect(given).toBeLessThan(2 * BEHIND_MAX_BYTES);
});

it('a returning client that takes too long for what it missed is cut off, because others wait for its place', async () => {
  catchUpMaxMs = 500;
  const client = listen('Last-Event-ID: 1\r\n');
  client.pause();
  await vi.waitFor(() => {
    expect(listeners).toHaveLength(1);
  }, WAIT);
  // Sooner than one that takes nothing at all.
  await vi.waitFor(
    () => {
      expect(listeners).toHaveLength(0);
    },
    { timeout: DRAIN_MAX_MS - 2_000 },
  );
});

it('clients with the same mask share the text of an event', async () => {
  let masked = 0;
  mask = {
    ...NO_MASK,
    user(name) {
      masked += 1;
      return name;
    },
  };
  const texts = ['', '', ''];
  for (const i of texts.keys()) {
    listen().on('data', (chunk) => {
      texts[i] += chunk.toString();
    });
  }
  await vi.waitFor(() => {
    expect(listeners).toHaveLength(3);
  }, WAIT);
  const events = eventsOf(5);
  for (const listener of listeners) listener.events(events);
  await vi.waitFor(() => {
    expect(texts.map((text) => text.match(/^event: changed$/gm)?.length)).toEqual([5, 5, 5]);
  }, WAIT);
  expect(masked).toBe(5);
});
