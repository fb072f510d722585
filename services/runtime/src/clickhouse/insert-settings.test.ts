import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createClickHouse } from './clickhouse.js';
import { clickhouseConfig } from './config.js';

/** Stands in for a server whose profile wants asynchronous inserts: the settings of a request decide. */
const asked: URLSearchParams[] = [];
const server = createServer((request, response) => {
  asked.push(new URL(request.url ?? '/', 'http://server').searchParams);
  request.resume().on('end', () => response.end());
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

describe('an insert', () => {
  it('is acknowledged when the rows are stored, with any profile of the server', async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const clickhouse = createClickHouse(
      clickhouseConfig.parse({ url: `http://127.0.0.1:${port}` }),
    );
    await clickhouse.insert({
      table: 'sessions',
      columns: ['a'],
      format: 'JSONCompactEachRow',
      bytes: [Buffer.from('[1]')],
    });
    await clickhouse.close();
    expect(asked).toHaveLength(1);
    expect(Object.fromEntries(asked[0] ?? [])).toMatchObject({
      async_insert: '0',
      distributed_foreground_insert: '1',
      wait_end_of_query: '1',
    });
  });
});
