import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createClickHouse } from './clickhouse.js';
import { clickhouseConfig } from './config.js';

/** Stands in for a server, because the test compares the requests of each node, and their passwords. */
let server: Server;
let url = '';
const asked: string[] = [];
const ANSWER = JSON.stringify({ meta: [], data: { one: [1] } });
/** Nothing listens there. */
const AWAY = 'http://127.0.0.1:1';
const select = { sql: 'SELECT 1 AS one', row: z.object({ one: z.number() }) };
const insert = {
  table: 'sessions',
  columns: ['a'],
  format: 'JSONCompactEachRow',
  bytes: [Buffer.from('[1]')],
} as const;

beforeEach(async () => {
  asked.length = 0;
  server = createServer((request, response) => {
    const [, basic = ''] = (request.headers.authorization ?? '').split(' ');
    asked.push(Buffer.from(basic, 'base64').toString());
    request.resume().on('end', () => response.end(ANSWER));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

describe('several nodes', () => {
  it('a query is answered by the next node, an insert when it is repeated, a command never', async () => {
    const config = clickhouseConfig.parse({ url: AWAY, failover_urls: [url] });
    const queries = createClickHouse(config, { failover: true });
    await expect(queries.query(select)).resolves.toEqual([{ one: 1 }]);
    await expect(queries.command({ sql: 'SELECT 1' })).rejects.toMatchObject({
      code: 'clickhouse_network',
    });
    await queries.close();

    const inserts = createClickHouse(config, { failover: true });
    await expect(inserts.insert(insert)).rejects.toMatchObject({ code: 'clickhouse_network' });
    await expect(inserts.insert(insert)).resolves.toBeUndefined();
    await inserts.close();
    expect(asked).toHaveLength(2);
  });

  it('a caller that needs the named node gets no other one', async () => {
    const named = createClickHouse(clickhouseConfig.parse({ url: AWAY, failover_urls: [url] }));
    await expect(named.query(select)).rejects.toMatchObject({ code: 'clickhouse_network' });
    await named.close();
    expect(asked).toEqual([]);
  });
});

describe('a password in a file', () => {
  it('is the new one from the next request on', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'password-'));
    const file = join(folder, 'password');
    await writeFile(file, 'old\n');
    const clickhouse = createClickHouse(
      clickhouseConfig.parse({ url, user: 'reader', password_file: file }),
    );
    await clickhouse.query(select);
    await writeFile(file, 'new\n');
    await clickhouse.insert(insert);
    await clickhouse.ping();
    await clickhouse.close();
    await rm(folder, { recursive: true });
    expect(asked).toEqual(['reader:old', 'reader:new', 'reader:new']);
  });
});
