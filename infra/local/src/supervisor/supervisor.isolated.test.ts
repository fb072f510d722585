import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { loadLocalConfig } from './config.js';
import { createReporter } from './report.js';
import { createSupervisor } from './supervisor.js';

/** Stands in for a service: a process that is ready and ends when the test asks for it. */
const SERVICE = `
const { existsSync, writeFileSync } = require('node:fs');
const { createServer } = require('node:http');
if (process.argv.length > 2) process.exit(0);
const file = (name) => require('node:path').join(__dirname, name);
const name = require('node:path').basename(require('node:path').dirname(__dirname));
const listen = { ingest: 'INGEST_OPS_LISTEN', query: 'QUERY_OPS_LISTEN', proxy: 'PROXY_OPS_LISTEN' }[name];
createServer((_, response) => {
  response.statusCode = existsSync(file('ready')) ? 200 : 503;
  response.end();
}).listen(process.env[listen].split(':')[1], '127.0.0.1');
process.on('SIGTERM', () => {
  writeFileSync(file('told-to-end'), '');
  setInterval(() => existsSync(file('may-end')) && process.exit(0), 10);
});
writeFileSync(file('started'), require('node:os').getPriority() + ' ' + process.pid);
`;

describe('the supervisor', () => {
  let root = '';
  let clickhouse: Server;
  const at = (service: string, name: string): string =>
    join(root, 'services', service, 'dist', name);
  const say = (service: string, name: string): void => {
    writeFileSync(at(service, name), '');
  };

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'sockscope-supervisor-'));
    for (const service of ['ingest', 'query', 'proxy']) {
      mkdirSync(at(service, ''), { recursive: true });
      writeFileSync(at(service, 'main.js'), SERVICE);
    }
    clickhouse = createServer((_, response) => response.end('{"data":{"1":[1]}}'));
    await new Promise<void>((resolve) => clickhouse.listen(0, '127.0.0.1', resolve));
  });
  afterEach(() => {
    clickhouse.close();
    clickhouse.closeAllConnections();
    rmSync(root, { recursive: true, force: true });
  });

  function supervisor() {
    const lines: string[] = [];
    const push = (line: string): void => {
      lines.push(line);
    };
    const { port } = clickhouse.address() as AddressInfo;
    const env = {
      PATH: process.env['PATH'],
      LOCAL_DATA_DIR: join(root, 'data'),
      KAFKA_BROKERS: '127.0.0.1:9',
      CLICKHOUSE_URL: `http://127.0.0.1:${String(port)}`,
      PROXY_LISTEN: '127.0.0.1:0',
      QUERY_LISTEN: '127.0.0.1:0',
      PROXY_OPS_LISTEN: '127.0.0.1:0',
      INGEST_OPS_LISTEN: '127.0.0.1:0',
      QUERY_OPS_LISTEN: '127.0.0.1:0',
    };
    const report = createReporter({ out: push, err: push });
    return { lines, parts: createSupervisor(loadLocalConfig(env), { report, root, env }) };
  }

  async function children(count: number): Promise<void> {
    const content = JSON.stringify({ children: [] });
    await vi.waitFor(() => {
      const file = join(root, 'data', 'running.json');
      const text = existsSync(file) ? readFileSync(file, 'utf8') : content;
      expect((JSON.parse(text) as { children: number[] }).children).toHaveLength(count);
    }, 60_000);
  }

  test('starts ingest and query before the proxy, reports when all are ready, and stops all', async () => {
    for (const service of ['ingest', 'query', 'proxy']) say(service, 'may-end');
    const { parts, lines } = supervisor();
    const started = parts.start();
    say('ingest', 'ready');
    await children(1);
    expect(existsSync(at('proxy', 'started'))).toBe(false);
    say('query', 'ready');
    say('proxy', 'ready');
    await started;
    expect(lines.at(-1)).toMatch(/^sockscope ready/);
    await parts.stop();
    expect(existsSync(at('proxy', 'told-to-end'))).toBe(true);
  });

  test('lets the proxy go before ingest and query when the machine has no time for all', async () => {
    for (const service of ['ingest', 'query', 'proxy']) {
      say(service, 'may-end');
      say(service, 'ready');
    }
    const { parts } = supervisor();
    await parts.start();
    const startedOf = (service: string): number[] =>
      readFileSync(at(service, 'started'), 'utf8').split(' ').map(Number);
    const nicenessOf = (service: string): number => startedOf(service)[0] ?? Number.NaN;
    expect(nicenessOf('proxy')).toBe(getPriority());
    for (const service of ['ingest', 'query']) {
      expect(nicenessOf(service)).toBe(Math.min(19, getPriority() + 10));
    }
    // Where the kernel groups processes by session, only the session's niceness counts between them.
    const sessionOf = (service: string): string => {
      const file = `/proc/${startedOf(service)[1]}/autogroup`;
      return existsSync(file) ? readFileSync(file, 'utf8') : '';
    };
    if (sessionOf('proxy') !== '') {
      expect(sessionOf('proxy')).toMatch(/nice 0$/m);
      for (const service of ['ingest', 'query']) {
        await expect.poll(() => sessionOf(service), { timeout: 60_000 }).toMatch(/nice 10$/m);
      }
    }
    await parts.stop();
  });

  test('does not start the proxy any more when it is stopped while query is starting', async () => {
    for (const service of ['query', 'proxy']) say(service, 'may-end');
    const { parts, lines } = supervisor();
    const started = parts.start();
    const outcome = started.then(
      () => 'started',
      (error: unknown) => String(error),
    );
    say('ingest', 'ready');
    say('proxy', 'ready');
    await children(1);
    const stopped = parts.stop();
    await vi.waitFor(() => {
      expect(existsSync(at('ingest', 'told-to-end'))).toBe(true);
    }, 60_000);
    // Query is waited for only after ingest has ended.
    say('query', 'ready');
    expect(await outcome).toContain('interrupted');
    say('ingest', 'may-end');
    await stopped;
    expect(existsSync(at('proxy', 'started'))).toBe(false);
    expect(lines.join('\n')).not.toContain('sockscope ready');
  });
});
