import { createLogger, Registry } from '@sockscope/runtime';
import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { Insert } from '@sockscope/runtime/clickhouse';
import { describe, expect, it } from 'vitest';
import type { TableBlock } from '../tables/block.js';
import { createWriterMetrics } from './metrics.js';
import { createWriter } from './writer.js';

/** One byte a row, so that it shows which rows were sent. */
function block(rows: readonly number[]): TableBlock {
  const middle = rows.length >> 1;
  return {
    table: 't',
    columns: ['a'],
    format: 'Native',
    bytes: [Uint8Array.from(rows)],
    rows: rows.length,
    ...(rows.length < 2
      ? {}
      : { halves: () => [block(rows.slice(0, middle)), block(rows.slice(middle))] }),
  };
}

/** @param isAnswering whether the server answers beside an insert. */
function createBench(insert: (rows: number[]) => Promise<void>, isAnswering = () => true) {
  const writer = createWriter(
    { insert_timeout_ms: 1_000, backoff_max_ms: 10 },
    {
      clickhouse: {
        insert: (each: Insert) => insert(each.bytes.flatMap((piece) => [...piece])),
        async ping() {
          if (!isAnswering()) throw timeout;
        },
      },
      logger: createLogger('test', { level: 'silent' }),
      metrics: createWriterMetrics(new Registry()),
    },
  );
  return { writer, never: new AbortController().signal };
}

const refusal = (retryable: boolean) =>
  new ClickHouseError('clickhouse_server', 'no', { retryable, serverCode: 60 });
const timeout = new ClickHouseError('clickhouse_timeout', 'late', { retryable: true });

describe('the writer', () => {
  it('sends the same rows again until they are acknowledged, after any error', async () => {
    const sent: number[][] = [];
    const { writer, never } = createBench(async (rows) => {
      sent.push(rows);
      if (sent.length < 4) throw refusal(sent.length % 2 === 0);
      expect(writer.trouble()).toMatch(/^t: no/);
    });
    await writer.write([block([1, 2, 3])], never);
    expect(sent).toEqual([
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3],
    ]);
    expect(writer.trouble()).toBeNull();
  });

  it('halves an insert until it is fast enough, and keeps every row', async () => {
    const stored: number[] = [];
    const { writer, never } = createBench(async (rows) => {
      if (rows.length > 3) throw timeout;
      stored.push(...rows);
    });
    const rows = Array.from({ length: 50 }, (_, i) => i);
    await writer.write([block(rows)], never);
    expect(stored).toEqual(rows);
  });

  it('sends the same rows as one insert after a time-out of a server that answers nothing', async () => {
    const sent: number[] = [];
    let pings = 0;
    const { writer, never } = createBench(
      async (rows) => {
        sent.push(rows.length);
        if (sent.length < 4) throw timeout;
      },
      () => (pings += 1) % 2 === 0,
    );
    const rows = Array.from({ length: 50 }, (_, i) => i);
    await writer.write([block(rows)], never);
    expect(sent).toEqual([50, 50, 50, 50]);
  });

  it('repeats a single slow row unchanged', async () => {
    let tries = 0;
    const { writer, never } = createBench(async () => {
      tries += 1;
      if (tries < 3) throw timeout;
    });
    await writer.write([block([7])], never);
    expect(tries).toBe(3);
  });

  it('ends at the signal with the error', async () => {
    const controller = new AbortController();
    const { writer } = createBench(async () => {
      controller.abort();
      throw refusal(true);
    });
    await expect(writer.write([block([1])], controller.signal)).rejects.toThrow('no');
  });
});
