import { fold } from '@sockscope/schemas';
import { endsOf, seededRandom, sessionLog } from '@sockscope/schemas/testing';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { refoldSessions } from '../maintenance/refold.js';
import { blocksOf, createTestTables, insertBlocks } from '../testing/fold-into-tables.js';

let tables: Awaited<ReturnType<typeof createTestTables>>;

beforeAll(async () => {
  tables = await createTestTables(inject('clickhouseUrl'));
});
afterAll(async () => {
  await tables.drop();
});

const START = Date.parse('2026-03-01T12:00:00.000Z');

/** A session whose machine lost power when Kafka had its end: the next process assumed another one. */
function endedTwice(seed: number) {
  const log = sessionLog({
    random: seededRandom(seed),
    startMs: START + seed,
    closed: true,
    closeReason: 'client_eof',
  });
  return { log, assumed: endsOf(log).assumed };
}

it('a real end wins over an assumed one of the same seq in every table, in any batches', async () => {
  const { clickhouse } = tables;
  const sessions = [1, 2, 3, 4].map(endedTwice);
  const [one, two, three, four] = sessions as [
    (typeof sessions)[0],
    (typeof sessions)[0],
    (typeof sessions)[0],
    (typeof sessions)[0],
  ];
  await insertBlocks(clickhouse, blocksOf([...one.log, one.assumed, two.assumed, ...two.log]));
  await insertBlocks(clickhouse, blocksOf([...three.log, four.assumed]));
  await insertBlocks(clickhouse, blocksOf([three.assumed, ...four.log]));

  const expected = Object.fromEntries(
    [...fold(sessions.flatMap(({ log }) => log))].map(([id, { row }]) => [id, row?.version]),
  );
  const rowsOf = async (table: string) =>
    clickhouse.query({
      sql: `SELECT session_id, version, close_reason, assumed FROM ${table} FINAL`,
      row: z.object({
        session_id: z.string(),
        version: z.int(),
        close_reason: z.string(),
        assumed: z.int(),
      }),
    });
  for (const table of ['sessions', 'sessions_by_user', 'sessions_by_destination']) {
    const rows = await rowsOf(table);
    expect(Object.fromEntries(rows.map((row) => [row.session_id, row.version]))).toEqual(expected);
    expect(rows.map((row) => [row.close_reason, row.assumed])).toEqual(
      sessions.map(() => ['client_eof', 0]),
    );
  }
  // The audit trail has both, and the tables that are made of it again hold the same.
  const ends = await clickhouse.query({
    sql: `SELECT session_id, groupArray(assumed) AS ends FROM (
        SELECT session_id, assumed FROM session_events FINAL WHERE type = 'SessionClosed' ORDER BY session_id, assumed
      ) GROUP BY session_id`,
    row: z.object({ session_id: z.string(), ends: z.array(z.int()) }),
  });
  expect(ends.map((row) => row.ends)).toEqual(sessions.map(() => [0, 1]));
  await clickhouse.command({ sql: 'CREATE TABLE again AS sessions' });
  await clickhouse.command({
    sql: refoldSessions('again', 'session_events'),
    params: { from: START / 1_000 - 60, to: START / 1_000 + 60 },
  });
  const again = await rowsOf('again');
  expect(Object.fromEntries(again.map((row) => [row.session_id, row.version]))).toEqual(expected);
});
