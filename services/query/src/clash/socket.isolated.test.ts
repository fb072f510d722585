import { once } from 'node:events';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { createLogger } from '@sockscope/runtime';
import { fastify } from 'fastify';
import type { FastifyInstance } from 'fastify';
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { Credentials } from '../auth/authenticator.js';
import { createCookies } from '../auth/cookie.js';
import { LOCAL } from '../auth/principal.js';
import { endConnectionsInOrder } from '../http/connections.js';
import { handleErrors } from '../http/errors.js';
import { guard } from '../http/guard.js';
import { allowOrigins } from '../http/origins.js';
import { ProblemError } from '../problems/problem.js';
import { answerUpgrades, CONSTRAINTS } from '../http/upgrades.js';
import { NO_MASK } from '../mask/mask.js';
import type { Store } from '../store/store.js';
import { serveClashSockets } from './socket.js';

const WAIT = { timeout: 60_000 };
const DASHBOARD = 'https://dashboard.example';
const RECHECK_INTERVAL_MS = 20;

let app: FastifyInstance;
let port: number;
/** The result of the recheck of an open socket. */
let stillAllowed: () => Promise<boolean>;
let shown: Credentials[];
let pingIntervalMs: number;
/** Bytes sent and received of each open session. */
let open: { session_id: string; bytes_sent: number; bytes_received: number }[];

/** Answers any question with the open sessions. */
const store: Store = {
  ask: async () => open.map((row) => ({ ...SESSION, ...row })) as never,
  askWithin: async () => null,
  ping: async () => undefined,
};
const SESSION = {
  started_at: '2026-01-01T00:00:00.000Z',
  dest_host: 'www.example.com',
  dest_ip: null,
  acl_rule_matched: null,
};

beforeEach(async () => {
  stillAllowed = async () => true;
  shown = [];
  pingIntervalMs = 30_000;
  open = [];
  app = fastify({ routerOptions: { constraints: CONSTRAINTS } });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  endConnectionsInOrder(app);
  answerUpgrades(app);
  handleErrors(app, createLogger('query', { level: 'silent' }));
  await allowOrigins(app, [DASHBOARD]);
  await app.register(
    async (api) => {
      await guard(
        api,
        { rate_limit_per_minute: 0, hosts: [], origins: [DASHBOARD] },
        {
          isOverloaded: () => false,
          cookie: createCookies('').session,
          authenticator: {
            async authenticate(credentials) {
              shown.push(credentials);
              if (credentials.apiKey === 'wrong') {
                throw new ProblemError('unauthenticated', 'the key or token is not valid');
              }
              return LOCAL;
            },
          },
        },
      );
      const config = { scope: 'read', audience: 'everyone' } as const;
      api.get('/version', { config }, () => ({ version: 'test' }));
      serveClashSockets(api, {
        store,
        contextOf: (request, reply) => ({
          signal: request.signal,
          nowMs: Date.now(),
          principal: request.principal,
          mask: NO_MASK,
          onlyUsers: null,
          share: null,
          arrivedMs: performance.now(),
          request,
          reply,
        }),
        isStillAllowed: () => stillAllowed(),
        recheckIntervalMs: RECHECK_INTERVAL_MS,
        get pingIntervalMs() {
          return pingIntervalMs;
        },
      });
    },
    { prefix: '/clash' },
  );
  await app.listen({ host: '127.0.0.1', port: 0 });
  ({ port } = app.server.address() as AddressInfo);
});

afterEach(async () => {
  await app.close();
});

const url = (path: string) => `ws://127.0.0.1:${port}/clash/${path}`;

function upgradeRequest(path: string, protocol = 'websocket'): string {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade, HTTP2-Settings',
    `Upgrade: ${protocol}`,
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'HTTP2-Settings: AAMAAABkAAQAAP__',
  ];
  return `${lines.join('\r\n')}\r\n\r\n`;
}

async function openConnections(): Promise<number> {
  return new Promise((resolve, reject) => {
    app.server.getConnections((error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

async function textOf(socket: Socket): Promise<string> {
  let text = '';
  for await (const piece of socket) text += String(piece);
  return text;
}

/** Everything that is answered to one request, until the connection ends. */
async function answerTo(request: string): Promise<{ status: number; body: string }> {
  const socket = connect(port, '127.0.0.1');
  socket.write(request);
  const text = await textOf(socket);
  const [head = '', body = ''] = text.split('\r\n\r\n', 2);
  return { status: Number(head.split(' ')[1]), body };
}

/** The status with which a WebSocket is refused, or `open`. */
async function outcomeOf(path: string, origin?: string): Promise<number | 'open'> {
  const socket = new WebSocket(url(path), origin === undefined ? {} : { origin });
  return new Promise((resolve, reject) => {
    socket.on('open', () => {
      socket.close();
      resolve('open');
    });
    socket.on('unexpected-response', (_request, response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    socket.on('error', reject);
  });
}

describe('a request for another protocol', () => {
  it.each(['/clash/connections', '/clash/version', '/nowhere'])(
    'for %s whose client resets the connection harms nobody else',
    async (path) => {
      const faults: unknown[] = [];
      const note = (error: unknown) => faults.push(error);
      process.on('uncaughtException', note);
      for (let i = 0; i < 20; i += 1) {
        const socket = connect(port, '127.0.0.1');
        await once(socket, 'connect');
        socket.write(upgradeRequest(path), () => socket.resetAndDestroy());
      }
      await vi.waitFor(async () => {
        expect(await openConnections()).toBe(0);
      }, 60_000);
      process.off('uncaughtException', note);
      expect(faults).toEqual([]);
      expect(await outcomeOf('memory')).toBe('open');
    },
  );

  it('that is refused does not stay open, although its client does not end its side', async () => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.write(upgradeRequest('/nowhere'));
    await once(socket, 'data');
    await vi.waitFor(async () => {
      expect(await openConnections()).toBe(0);
    }, 60_000);
    socket.destroy();
  });

  it('is answered like a plain request if no route speaks it', async () => {
    for (const protocol of ['h2c', 'websocket', 'TLS/1.0']) {
      const answer = await answerTo(upgradeRequest('/clash/version', protocol));
      expect([protocol, answer.status]).toEqual([protocol, 200]);
      expect(JSON.parse(answer.body)).toEqual({ version: 'test' });
    }
    const missing = await answerTo(upgradeRequest('/clash/nothing', 'h2c'));
    expect(missing.status).toBe(404);
    expect(JSON.parse(missing.body)).toMatchObject({ code: 'not-found' });
  });

  it('that is wrong gets a problem document', async () => {
    for (const [path, status, code] of [
      ['/clash/connections?foo=1', 400, 'invalid-parameters'],
      ['/clash/connections?token=wrong', 401, 'unauthenticated'],
    ] as const) {
      const answer = await answerTo(upgradeRequest(path));
      expect(answer.status).toBe(status);
      expect(JSON.parse(answer.body)).toMatchObject({ status, code });
    }
    const handshake = upgradeRequest('/clash/connections');
    for (const wrong of [
      handshake.replace('Version: 13', 'Version: 7'),
      handshake.replace(/Sec-WebSocket-Key: .*/, 'Sec-WebSocket-Key: short'),
      handshake.replace(/Sec-WebSocket-Key: .*/, 'X: y'),
    ]) {
      const answer = await answerTo(wrong);
      expect([wrong, answer.status]).toEqual([wrong, 400]);
      expect(JSON.parse(answer.body)).toMatchObject({ code: 'invalid-parameters' });
    }
  });
});

describe('a WebSocket', () => {
  it('is opened for programs and for pages of this host or a configured origin alone', async () => {
    expect(await outcomeOf('connections')).toBe('open');
    expect(await outcomeOf('connections', `http://127.0.0.1:${port}`)).toBe('open');
    expect(await outcomeOf('connections', DASHBOARD)).toBe('open');
    for (const origin of [
      'https://evil.example',
      'http://127.0.0.1',
      `http://localhost:${port}`,
      `${DASHBOARD}.evil.example`,
      'null',
      'file://',
    ]) {
      expect([origin, await outcomeOf('connections', origin)]).toEqual([origin, 403]);
    }
  });

  it('takes a key as a parameter, an empty one as none', async () => {
    await outcomeOf('connections?token=abc');
    await outcomeOf('connections?token=');
    expect(shown.map((credentials) => credentials.apiKey)).toEqual(['abc', undefined]);
  });

  it('stays open while its key cannot be checked, and ends if the key is invalid', async () => {
    let asked = 0;
    stillAllowed = async () => {
      asked += 1;
      throw new ProblemError('identity-unavailable', 'the issuer of tokens cannot be reached');
    };
    const socket = new WebSocket(url('memory'));
    await once(socket, 'open');
    await vi.waitFor(() => {
      expect(asked).toBeGreaterThan(2);
    }, 60_000);
    expect(socket.readyState).toBe(WebSocket.OPEN);
    const closed = once(socket, 'close');
    stillAllowed = async () => false;
    expect((await closed)[0]).toBe(1008);
  });

  it('of traffic sends bytes a second of the open sessions', async () => {
    open = [{ session_id: 'a', bytes_sent: 1_000, bytes_received: 5_000 }];
    const socket = new WebSocket(url('traffic?interval=200'));
    const next = async () => {
      const [data] = (await once(socket, 'message')) as [Buffer];
      return JSON.parse(data.toString()) as { up: number; down: number };
    };
    expect(await next()).toEqual({ up: 0, down: 0 });
    open = [
      { session_id: 'a', bytes_sent: 3_000, bytes_received: 5_000 },
      { session_id: 'b', bytes_sent: 0, bytes_received: 4_000 },
    ];
    const { up, down } = await next();
    // 2,000 and 4,000 bytes in a fifth of a second, by timers that a busy machine delays.
    expect(up).toBeGreaterThan(0);
    expect(up).toBeLessThanOrEqual(20_000);
    expect(down / up).toBeCloseTo(2, 2);
    expect(await next()).toEqual({ up: 0, down: 0 });
    socket.close();
  });

  it('of logs stays open and sends nothing', async () => {
    const socket = new WebSocket(url('logs?level=info&format=structured&interval=200'));
    const messages: unknown[] = [];
    socket.on('message', (data) => messages.push(data));
    await once(socket, 'open');
    const memory = new WebSocket(url('memory?interval=200'));
    for (let i = 0; i < 3; i += 1) {
      await once(memory, 'message');
    }
    expect([socket.readyState, messages.length]).toEqual([WebSocket.OPEN, 0]);
    memory.close();
    socket.close();
  });
});

describe('a client that vanished', () => {
  it('does not keep its place, and one that answers pings does', async () => {
    pingIntervalMs = 500;
    const gone = new WebSocket(url('logs'), { autoPong: false });
    const stays = new WebSocket(url('logs'));
    let pings = 0;
    stays.on('ping', () => {
      pings += 1;
    });
    const [code] = (await once(gone, 'close')) as [number];
    expect(code).toBe(1006);
    await vi.waitFor(() => {
      expect(pings).toBeGreaterThan(2);
    }, WAIT);
    expect(stays.readyState).toBe(WebSocket.OPEN);
    stays.close();
  });
});

describe('pages of another origin', () => {
  it('may read if the origin is configured', async () => {
    const ask = async (origin: string) =>
      app.inject({ url: '/clash/version', headers: { origin } });
    const allowed = await ask(DASHBOARD);
    expect(allowed.headers).toMatchObject({
      'access-control-allow-origin': DASHBOARD,
      'access-control-expose-headers': 'Content-Disposition, ETag, Retry-After, X-Request-Id',
      vary: 'Origin',
    });
    const other = await ask('https://evil.example');
    expect(other.headers['access-control-allow-origin']).toBeUndefined();
  });

  it('may read a problem, too', async () => {
    const { headers, statusCode } = await app.inject({
      url: '/clash/nothing',
      headers: { origin: DASHBOARD },
    });
    expect([statusCode, headers['access-control-allow-origin']]).toEqual([404, DASHBOARD]);
  });

  it('ask first, without a key, and learn the allowed methods and headers', async () => {
    const ask = async (origin: string) =>
      app.inject({
        method: 'OPTIONS',
        url: '/clash/connections',
        headers: {
          origin,
          'access-control-request-method': 'GET',
          'access-control-request-headers': 'authorization,content-type',
          'access-control-request-private-network': 'true',
        },
      });
    const { statusCode, headers } = await ask(DASHBOARD);
    expect(statusCode).toBe(204);
    expect(headers).toMatchObject({
      'access-control-allow-origin': DASHBOARD,
      'access-control-allow-methods': 'GET, HEAD',
      'access-control-allow-private-network': 'true',
    });
    expect(headers['access-control-allow-headers']).toMatch(/Authorization.*Content-Type/);
    const other = await ask('https://evil.example');
    expect(other.headers['access-control-allow-origin']).toBeUndefined();
    expect(other.headers['access-control-allow-private-network']).toBeUndefined();
    expect(shown).toEqual([]);
  });
});
