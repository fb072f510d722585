import { readdirSync, readFileSync } from 'node:fs';
import { clickhouseConfig, createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { isTooMuch, runStatement } from './statement.js';

const WAIT = { timeout: 60_000, interval: 50 };
const LIMITS = { threads: 1, statement_ms: 60_000, memory_bytes: 1024 ** 3, priority: 0, nice: 0 };

/** See capabilities(7). */
const CAP_SYS_NICE = 1n << 23n;

/** Far more than a statement reads in a few seconds if it has to wait. */
const MANY_ROWS = 10_000_000;

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

/** The niceness of each thread of the server. */
function threadNiceness(): number[] {
  const folder = `/proc/${inject('clickhousePid')}/task`;
  return readdirSync(folder).flatMap((thread) => {
    try {
      // See proc(5): behind the name in brackets, niceness is the 17th field.
      const [, fields = ''] = readFileSync(`${folder}/${thread}/stat`, 'utf8').split(') ');
      return [Number(fields.split(' ')[16])];
    } catch {
      // It has ended.
      return [];
    }
  });
}

/** Whether the server may raise the priority of a thread. */
function mayRaise(): boolean {
  const pid = inject('clickhousePid');
  if (process.platform !== 'linux' || pid === 0) return false;
  const [, capabilities = '0'] =
    /^CapEff:\s*(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return (BigInt(`0x${capabilities}`) & CAP_SYS_NICE) !== 0n;
}

describe('a statement of a round', () => {
  it.skipIf(!mayRaise())('runs in threads of the niceness that it asks for', async () => {
    const ending = new AbortController();
    const nice = -7;
    const ended = runStatement(
      clickhouse,
      { name: 'long', sql: longInsert('is urgent'), params: {} },
      { ...LIMITS, nice },
      ending.signal,
    ).catch((error: unknown) => error);
    await expect.poll(threadNiceness, WAIT).toContain(nice);
    ending.abort();
    await ended;
    await expect.poll(threadNiceness, WAIT).not.toContain(nice);
  });

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

  it('waits while the server runs one that goes before it, and then continues', async () => {
    const ending = { low: new AbortController(), high: new AbortController() };
    const progress = async (name: string) => {
      const [row] = await clickhouse.query({
        sql: `SELECT toFloat64(max(read_rows)) AS rows, max(elapsed) AS seconds FROM system.processes WHERE startsWith(query_id, {name:String})`,
        params: { name },
        row: z.object({ rows: z.number(), seconds: z.number() }),
      });
      return row ?? { rows: 0, seconds: 0 };
    };
    const rowsOf = async (name: string) => (await progress(name)).rows;
    const begin = (name: 'low' | 'high', sql: string, priority: number) =>
      runStatement(
        clickhouse,
        { name: `goes-${name}`, sql, params: {} },
        { ...LIMITS, priority },
        ending[name].signal,
      ).catch(() => undefined);

    const low = begin(
      'low',
      "INSERT INTO FUNCTION null('n UInt64') SELECT number FROM numbers(1000000000000)",
      2,
    );
    await expect.poll(() => rowsOf('goes-low'), WAIT).toBeGreaterThan(MANY_ROWS);
    const high = begin('high', longInsert('goes first'), 1);
    await expect.poll(() => running('goes first'), WAIT).toBe(1);
    const before = await rowsOf('goes-low');
    await expect.poll(async () => (await progress('goes-high')).seconds, WAIT).toBeGreaterThan(2);
    const waited = await rowsOf('goes-low');
    expect(waited - before).toBeLessThan(MANY_ROWS);

    ending.high.abort();
    await high;
    await expect.poll(() => rowsOf('goes-low'), WAIT).toBeGreaterThan(waited + MANY_ROWS);
    ending.low.abort();
    await low;
  });
});
