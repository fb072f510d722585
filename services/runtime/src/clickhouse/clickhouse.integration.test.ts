import { randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { z } from 'zod';
import '../testing/provided-context.js';
import { clickhouseConfig, ClickHouseError, createClickHouse, int64, isoTime } from './exports.js';
import type { ClickHouse } from './exports.js';

/** Patience for steps without a promised time: the machine may be busy. */
const WAIT = { timeout: 60_000 };

const database = `runtime_${randomBytes(4).toString('hex')}`;
const base = clickhouseConfig.parse({ url: inject('clickhouseUrl') });
let admin: ClickHouse;
let clickhouse: ClickHouse;

beforeAll(async () => {
  admin = createClickHouse({ ...base, database: 'default' });
  await admin.command({ sql: `CREATE DATABASE ${database} ENGINE = Atomic` });
  clickhouse = createClickHouse({ ...base, database });
  await clickhouse.command({
    sql: 'CREATE TABLE t (id UInt64, name String) ENGINE = MergeTree ORDER BY id',
  });
});

afterAll(async () => {
  await admin.command({ sql: `DROP DATABASE ${database}` });
  await clickhouse.close();
  await admin.close();
});

async function errorOf(promise: Promise<unknown>): Promise<ClickHouseError> {
  const error = await promise.then(
    () => null,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(ClickHouseError);
  return error as ClickHouseError;
}

describe('clickhouse', () => {
  it('acknowledges an insert after its rows can be read', async () => {
    const rows = [
      [1, 'a'],
      [2, "x' ; DROP TABLE t --"],
    ].map((row) => Buffer.from(`${JSON.stringify(row)}\n`));
    await clickhouse.insert({
      table: 't',
      columns: ['id', 'name'],
      format: 'JSONCompactEachRow',
      bytes: rows,
    });
    const read = await clickhouse.query({
      sql: 'SELECT id, name FROM t WHERE name = {name:String}',
      params: { name: "x' ; DROP TABLE t --" },
      row: z.object({ id: int64, name: z.string() }),
    });
    expect(read).toEqual([{ id: 2, name: "x' ; DROP TABLE t --" }]);
  });

  it('returns 64-bit integers and times exactly, and refuses integers beyond 2^53', async () => {
    const read = await clickhouse.query({
      sql: "SELECT toUInt64(9007199254740991) AS n, toDateTime64('2026-01-31 23:59:59.999', 3, 'UTC') AS at",
      row: z.object({ n: int64, at: isoTime }),
    });
    expect(read).toEqual([{ n: Number.MAX_SAFE_INTEGER, at: '2026-01-31T23:59:59.999Z' }]);
    const error = await errorOf(
      clickhouse.query({
        sql: 'SELECT toUInt64(9007199254740993) AS n',
        row: z.object({ n: int64 }),
      }),
    );
    expect(error).toMatchObject({ code: 'clickhouse_row', retryable: false });
  });

  it('returns the cost of a query', async () => {
    const { cost } = await clickhouse.queryWithCost({
      sql: 'SELECT sum(number) AS n FROM numbers(100000)',
      row: z.object({ n: int64 }),
    });
    expect(cost.readRows).toBe(100_000);
  });

  it('names the exception of the server, and that a repetition will not help', async () => {
    const error = await errorOf(clickhouse.command({ sql: 'INSERT INTO missing SELECT 1' }));
    expect(error).toMatchObject({ code: 'clickhouse_server', serverCode: 60, retryable: false });
  });

  it('names an exception in the middle of the answer', async () => {
    const query = {
      sql: 'SELECT throwIf(number = 1000000) AS n FROM numbers(2000000)',
      row: z.unknown(),
    };
    expect(await errorOf(clickhouse.query(query))).toMatchObject({ serverCode: 395 });
    const reading = (async () => {
      let rows = 0;
      for await (const chunk of clickhouse.stream(query)) rows += chunk.length;
      return rows;
    })();
    expect((await errorOf(reading)).message).toMatch(/throwIf/);
  });

  it('ends a query at its deadline and at the signal of the caller', async () => {
    const sql = 'SELECT sleepEachRow(0.1) AS n FROM numbers(50) SETTINGS max_block_size = 1';
    const late = await errorOf(clickhouse.query({ sql, row: z.unknown(), timeoutMs: 50 }));
    expect(late).toMatchObject({ code: 'clickhouse_timeout', retryable: true });
    const controller = new AbortController();
    const query = clickhouse.query({ sql, row: z.unknown(), signal: controller.signal });
    controller.abort();
    expect(await errorOf(query)).toMatchObject({ code: 'clickhouse_aborted', retryable: false });
  });

  it('ends a query in the server when its caller gives up', async () => {
    const controller = new AbortController();
    const sql = "SELECT sleepEachRow(0.05), 'given up' AS mark FROM numbers(6000)";
    const query = clickhouse.query({
      sql,
      row: z.unknown(),
      signal: controller.signal,
      settings: { max_block_size: 1 },
    });
    const outcome = errorOf(query);
    const running = async () => {
      const [row] = await clickhouse.query({
        sql: "SELECT count() AS n FROM system.processes WHERE query LIKE '%sleepEachRow(0.05)%' AND query NOT LIKE '%system.processes%'",
        row: z.object({ n: int64 }),
      });
      return row?.n;
    };
    await vi.waitFor(async () => {
      expect(await running()).toBe(1);
    }, WAIT);
    controller.abort();
    expect(await outcome).toMatchObject({ code: 'clickhouse_aborted' });
    // Alone it would run for five minutes.
    await vi.waitFor(async () => {
      expect(await running()).toBe(0);
    }, WAIT);
  });

  it('ends a statement that writes in the server, soon after its deadline here', async () => {
    const sql = "INSERT INTO t SELECT sleepEachRow(0.05), 'never ends' FROM numbers(6000)";
    const late = await errorOf(
      clickhouse.command({ sql, timeoutMs: 500, settings: { max_block_size: 1 } }),
    );
    expect(late).toMatchObject({ code: 'clickhouse_timeout' });
    const running = async () => {
      const [row] = await clickhouse.query({
        sql: "SELECT count() AS n FROM system.processes WHERE query LIKE '%never ends%' AND query NOT LIKE '%system.processes%'",
        row: z.object({ n: int64 }),
      });
      return row?.n;
    };
    expect(await running()).toBe(1);
    await vi.waitFor(async () => {
      expect(await running()).toBe(0);
    }, WAIT);
  });

  it('streams in bounded chunks and lets the reader stop early', async () => {
    let rows = 0;
    const row = z.object({ number: int64 });
    for await (const chunk of clickhouse.stream({
      sql: 'SELECT number FROM numbers(10000000)',
      row,
    })) {
      rows += chunk.length;
      if (rows > 10_000) break;
    }
    expect(rows).toBeLessThan(1_000_000);
    await clickhouse.ping();
  });

  it('downloads the bytes of the server unchanged', async () => {
    const pieces: Uint8Array[] = [];
    for await (const piece of clickhouse.download({
      sql: 'SELECT number, {text:String} AS text FROM numbers(3)',
      params: { text: 'a"b,\n' },
      format: 'CSVWithNames',
    })) {
      pieces.push(piece);
    }
    const row = (n: number) => `${n},"a""b,\n"\n`;
    expect(Buffer.concat(pieces).toString()).toBe(`"number","text"\n${row(0)}${row(1)}${row(2)}`);
  });

  it('throws an exception in the middle of a download, and gives no part of it as data', async () => {
    let text = '';
    const reading = (async () => {
      for await (const piece of clickhouse.download({
        sql: 'SELECT throwIf(number = 1000000) AS n, number FROM numbers(2000000)',
        format: 'CSVWithNames',
      })) {
        text += Buffer.from(piece).toString();
      }
    })();
    const error = await errorOf(reading);
    expect(error).toMatchObject({ code: 'clickhouse_server', serverCode: 395 });
    expect(text).toMatch(/^"n","number"\n(?:0,\d+\n)+$/);
  });

  it('marks a lost connection as worth a repetition', async () => {
    const severed = await startSever();
    const url = `http://127.0.0.1:${(severed.address() as AddressInfo).port}`;
    const through = createClickHouse({ ...base, url, database });
    const insert = { table: 't', columns: ['id', 'name'], format: 'JSONCompactEachRow' } as const;
    const error = await errorOf(through.insert({ ...insert, bytes: [Buffer.from('[3,"c"]\n')] }));
    expect(error).toMatchObject({ code: 'clickhouse_network', retryable: true });
    await through.close();
    severed.close();
  });

  it('refuses a name that would need quoting', async () => {
    const insert = {
      table: 't; DROP TABLE t',
      columns: ['id'],
      format: 'Native',
      bytes: [],
    } as const;
    await expect(clickhouse.insert(insert)).rejects.toThrow(TypeError);
  });
});

/** Passes requests on and destroys the connection instead of passing the answer back. */
async function startSever(): Promise<Server> {
  const target = new URL(base.url);
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    client.pipe(upstream);
    upstream.once('data', () => {
      client.destroy();
      upstream.destroy();
    });
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return server;
}
