import { seededRandom } from '@sockscope/schemas/testing';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { startsOf } from './suggest.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
});

afterAll(async () => {
  await database.drop();
});

/** A character by its number, in UTF-8. */
const CHARACTER = `multiIf(
  n < 128, char(n),
  n < 2048, char(192 + intDiv(n, 64), 128 + n % 64),
  n < 65536, char(224 + intDiv(n, 4096), 128 + intDiv(n, 64) % 64, 128 + n % 64),
  char(240 + intDiv(n, 262144), 128 + intDiv(n, 4096) % 64, 128 + intDiv(n, 64) % 64, 128 + n % 64))`;

describe('the beginnings of the values that a prefix finds', () => {
  it('have every character that is an ASCII letter in lower case', async () => {
    const rows = await database.clickhouse.query({
      sql: `SELECT ${CHARACTER} AS character, substring(lowerUTF8(character), 1, 1) AS lower
        FROM (SELECT number AS n FROM numbers(1114112) WHERE NOT number BETWEEN 55296 AND 57343)
        WHERE match(lower, '^[a-z]') AND n > 127`,
      row: z.object({ character: z.string(), lower: z.string() }),
    });
    expect(rows.length).toBeGreaterThan(0);
    for (const { character, lower } of rows) expect(startsOf(lower)).toContain(character);
  });

  it('have the beginning of every value that ClickHouse finds', async () => {
    const random = seededRandom(1);
    const letters = 'aAkK\u212AiI\u0130\u0131sS\u017FéÉßẞ.-\u0307'.split('');
    const text = (length: number) =>
      Array.from({ length }, () => letters[Math.floor(random() * letters.length)]).join('');
    const pairs = Array.from({ length: 20_000 }, () => {
      const value = text(1 + Math.floor(random() * 5));
      const prefix = text(1 + Math.floor(random() * 2)).toLowerCase();
      return random() < 0.5
        ? { value, prefix }
        : { value, prefix: value.slice(0, 2).toLowerCase() };
    });
    for (let at = 0; at < pairs.length; at += 2_000) {
      const some = pairs.slice(at, at + 2_000);
      const [row] = await database.clickhouse.query({
        sql: `SELECT arrayMap((value, prefix) -> startsWith(lowerUTF8(value), lowerUTF8(prefix)),
            {values:Array(String)}, {prefixes:Array(String)}) AS found`,
        params: {
          values: some.map(({ value }) => value),
          prefixes: some.map(({ prefix }) => prefix),
        },
        row: z.object({ found: z.array(z.int()) }),
      });
      const missed = some.filter(
        ({ value, prefix }, i) =>
          row?.found[i] === 1 && !startsOf(prefix).some((start) => value.startsWith(start)),
      );
      expect(missed).toEqual([]);
    }
  });
});
