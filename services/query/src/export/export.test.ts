import { once } from 'node:events';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { createLogger, createRegistry } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { fastify } from 'fastify';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LOCAL } from '../auth/principal.js';
import type { AuditEnd } from '../audit/log.js';
import { NO_MASK } from '../mask/mask.js';
import { createGate, createGateMetrics } from '../store/gate.js';
import { createStoreMetrics } from '../store/metrics.js';
import { sendExport } from './export.js';
import { createRunningExports } from './running.js';

const WAIT = { timeout: 60_000 };
/** More than the kernel takes for a client that reads nothing. */
const PIECES = 2_000;

let app: FastifyInstance;
let port: number;
let clients: Socket[];
let outcomes: string[];
/** Resolves when the beginning of an export may be written down. */
let mayBegin: Promise<void>;
let given: number;

/** A practically endless download, instead of one of gigabytes. */
async function* download(): AsyncGenerator<Buffer> {
  for (let n = 0; n < PIECES; n += 1) {
    given += 1;
    yield Buffer.alloc(65_536, 10);
    await delay(0);
  }
}

async function listen(timeoutMs: number): Promise<void> {
  const registry = createRegistry('query');
  const running = createRunningExports();
  const deps = {
    clickhouse: { download } as unknown as ClickHouse,
    audit: {
      async begin() {
        await mayBegin;
        outcomes.push('started');
        return async ({ outcome }: AuditEnd) => {
          outcomes.push(outcome);
        };
      },
      around: <T>(_action: unknown, work: () => Promise<T>) => work(),
    },
    gate: createGate(
      { name: 'export', running_max: 1, waiting_max: 0, wait_max_ms: 100 },
      createGateMetrics(registry),
    ),
    running,
    metrics: createStoreMetrics(registry),
    logger: createLogger('query', { level: 'silent' }),
    config: { running_max: 1, rows_max: 1, timeout_ms: timeoutMs },
    retention: { settings: async () => ({}), keptFrom: async () => null },
    longSessions: { beforeMs: async () => 0, bind: async <Q>(query: Q) => query },
    limits: { rows_to_read_max: 1, memory_max_bytes: 1 },
  };
  app.addHook('preClose', () => running.stop());
  app.get('/export', async (request, reply) => {
    const context = {
      signal: request.signal,
      nowMs: 0,
      principal: LOCAL,
      mask: NO_MASK,
      onlyUsers: null,
      share: null,
      arrivedMs: performance.now(),
      request,
      reply,
    };
    const statement = { name: 'export_sessions', sql: '', params: {} } as const;
    await sendExport(deps, context, {
      format: 'ndjson',
      name: 'sessions',
      statement: async () => statement,
    });
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  ({ port } = app.server.address() as AddressInfo);
}

/** Requests an export and reads nothing. */
function asks(version = '1.1'): Socket {
  const client = connect(port, '127.0.0.1');
  client.on('error', () => undefined);
  client.write(`GET /export HTTP/${version}\r\nHost: 127.0.0.1\r\n\r\n`);
  client.pause();
  clients.push(client);
  return client;
}

beforeEach(() => {
  app = fastify();
  clients = [];
  outcomes = [];
  given = 0;
  mayBegin = Promise.resolve();
});

afterEach(async () => {
  for (const client of clients) client.destroy();
  await app.close();
});

describe('an export', () => {
  it('is broken off, and gives its place back, if the client takes nothing in time', async () => {
    await listen(300);
    const client = asks();
    await vi.waitFor(() => {
      expect(outcomes).toEqual(['started', 'failed']);
    }, WAIT);
    expect(given).toBeLessThan(PIECES);
    client.resume();
    await once(client, 'close');
    asks();
    await vi.waitFor(() => {
      expect(outcomes).toEqual(['started', 'failed', 'started', 'failed']);
    }, WAIT);
  });

  it('that is broken off is taken for whole by no client, of HTTP/1.0 neither', async () => {
    await listen(300);
    const client = asks('1.0');
    const broken = once(client, 'end').then(
      () => 'ended',
      (error: unknown) => (error as { readonly code?: unknown }).code,
    );
    client.resume();
    expect(await broken).toBe('ECONNRESET');
    expect(outcomes).toEqual(['started', 'failed']);
  });

  it('gives its place back if the client left while the beginning was written down', async () => {
    let begin: () => void = () => undefined;
    mayBegin = new Promise((resolve) => {
      begin = resolve;
    });
    await listen(60_000);
    const arrived = once(app.server, 'request');
    const client = asks();
    const [, response] = (await arrived) as [unknown, { destroyed: boolean }];
    client.destroy();
    await vi.waitFor(() => {
      expect(response.destroyed).toBe(true);
    }, WAIT);
    begin();
    await vi.waitFor(() => {
      expect(outcomes).toEqual(['started', 'aborted']);
    }, WAIT);
  });

  it('does not hold up a stop, and its end is in the audit log then', async () => {
    await listen(60_000);
    asks();
    await vi.waitFor(() => {
      expect(outcomes).toEqual(['started']);
    }, WAIT);
    await app.close();
    expect(outcomes).toEqual(['started', 'aborted']);
  });
});
