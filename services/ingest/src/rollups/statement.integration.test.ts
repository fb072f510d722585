import { clickhouseConfig, createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { isTooMuch, runStatement } from './statement.js';

const WAIT = { timeout: 60_000, interval: 50 };
const LIMITS = { threads: 1, statement_ms: 60_000, memory_bytes: 1024 ** 3 };

let clickhouse: ClickHouse;

beforeAll(() => {
  const config = clickhouseConfig.parse({ url: inject('clickhouseUrl') });
  clickhouse = createClickHouse({ ...config, database: 'default' });
});

afterAll(async () => {
  await clickhouse.close();
});

/** An INSERT that takes ten minutes, known by its name. */
const longInsert = (name: string) =>
  `INSERT INTO FUNCTION null('n UInt64') SELECT sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1 /* ${name} */`;

async function running(name: string): Promise<number> {
  const [row] = await clickhouse.query({
    sql: `SELECT count() AS statements FROM system.processes WHERE query LIKE {like:String} AND query NOT LIKE '%system.processes%'`,
    params: { like: `%${name}%` },
    row: z.object({ statements: int64 }),
  });
  return row?.statements ?? 0;
}

describe('a statement of a round', () => {
  it('is ended by the server at its time limit, with an error that marks it as too much', async () => {
    const limits = { ...LIMITS, statement_ms: 1_000 };
    const ended = runStatement(
      clickhouse,
      { name: 'long', sql: longInsert('ends at its time'), params: {} },
      limits,
      AbortSignal.timeout(120_000),
    ).then(
      () => null,
      (error: unknown) => error,
    );
    expect(isTooMuch(await ended)).toBe(true);
    await expect.poll(() => running('ends at its time'), WAIT).toBe(0);
  });

  it('is ended on the server if ingest gives it up', async () => {
    const ending = new AbortController();
    const ended = runStatement(
      clickhouse,
      { name: 'long', sql: longInsert('given up'), params: {} },
      LIMITS,
      ending.signal,
    ).then(
      () => null,
      (error: unknown) => error,
    );
    await expect.poll(() => running('given up'), WAIT).toBe(1);
    ending.abort();
    expect(await ended).toMatchObject({ code: 'clickhouse_aborted' });
    await expect.poll(() => running('given up'), WAIT).toBe(0);
  });
});
