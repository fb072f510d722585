/** Every kind of column through the real server and back. */
import { randomBytes } from 'node:crypto';
import { clickhouseConfig, createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { seededRandom } from '@sockscope/schemas/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import '@sockscope/runtime/testing';
import { ChoiceColumn, DictionaryColumn } from './low-cardinality.js';
import { NullableColumn } from './nullable.js';
import { Ipv6Column, Uint16Column, Uint32Column, Uint64Column, UuidColumn } from './numbers.js';
import { NativeTable } from './table.js';
import { TextColumn } from './text.js';

const database = `native_${randomBytes(5).toString('hex')}`;
const CHOICES = ['', 'one', 'two'];
/** More rows than columns and dictionaries have room for at first. */
const ROWS = 9_000;
const WORDS = 5_000;

const columns = () => ({
  n: new Uint32Column('UInt32'),
  small: new Uint16Column(),
  large: new Uint64Column('UInt64'),
  maybe: new NullableColumn(new Uint64Column('UInt64')),
  id: new UuidColumn(),
  address: new NullableColumn(new Ipv6Column()),
  text: new TextColumn(),
  choice: new ChoiceColumn(CHOICES),
  maybe_choice: new ChoiceColumn(CHOICES, true),
  word: new DictionaryColumn(),
  maybe_word: new DictionaryColumn(true),
});

const row = z.object({
  n: int64,
  small: int64,
  large: int64,
  maybe: int64.nullable(),
  id: z.string(),
  address: z.string().nullable(),
  text: z.string(),
  choice: z.string(),
  maybe_choice: z.string().nullable(),
  word: z.string(),
  maybe_word: z.string().nullable(),
});
type Row = z.infer<typeof row>;

let clickhouse: ClickHouse;

beforeAll(async () => {
  const config = clickhouseConfig.parse({ url: inject('clickhouseUrl') });
  const admin = createClickHouse({ ...config, database: 'default' });
  await admin.command({ sql: `CREATE DATABASE ${database} ENGINE = Atomic` });
  await admin.close();
  clickhouse = createClickHouse({ ...config, database });
  const types = Object.entries(columns()).map(([name, { type }]) => `${name} ${type}`);
  await clickhouse.command({
    sql: `CREATE TABLE t (${types.join(', ')}) ENGINE = MergeTree ORDER BY n`,
  });
  // Other types than the sent ones: the server casts.
  await clickhouse.command({
    sql: `CREATE TABLE plain (${types.join(', ').replaceAll(/LowCardinality\((\w+(?:\(String\))?)\)/g, '$1')}) ENGINE = MergeTree ORDER BY n`,
  });
});

afterAll(async () => {
  await clickhouse.command({ sql: `DROP DATABASE ${database} SYNC` });
  await clickhouse.close();
});

function fill(table: NativeTable<ReturnType<typeof columns>>, seed: number): Row[] {
  const random = seededRandom(seed);
  const below = (n: number) => Math.floor(random() * n);
  const hex = (word: number) => word.toString(16).padStart(8, '0');
  const rows: Row[] = [];
  for (let i = 0; i < ROWS; i += 1) {
    const c = table.columns;
    const at = table.add();
    const words = Array.from({ length: 4 }, () => below(2 ** 32)) as [
      number,
      number,
      number,
      number,
    ];
    const uuid = words.map(hex).join('');
    // Lengths on both sides of the limits of one and two bytes.
    const text = 'ü'.repeat(below(100) === 0 ? below(10_000) : below(80));
    const word = `wort-${below(WORDS)}`;
    const bytes = Buffer.from(`<${text}><${word}>`);
    const textBytes = Buffer.byteLength(text);
    const wordAt = textBytes + 3;
    const wordBytes = Buffer.byteLength(word);
    const isNull = below(3) === 0;
    const large = below(2) === 0 ? Number.MAX_SAFE_INTEGER - below(1_000) : below(2 ** 33);
    c.n.set(at, i);
    c.small.set(at, i % 65_536);
    c.large.set(at, large);
    c.id.set(at, ...words);
    c.text.set(at, bytes, 1, textBytes);
    c.choice.set(at, i % 3);
    c.maybe_choice.set(at, i % 3);
    c.word.set(at, bytes, wordAt, wordBytes);
    if (isNull) {
      c.maybe.clear(at);
      c.address.clear(at);
      c.maybe_word.clear(at);
    } else {
      c.maybe.present(at).set(at, large);
      c.address.present(at).set(at, 0x20010db8, 0, 0, words[3]);
      c.maybe_word.set(at, bytes, wordAt, wordBytes);
    }
    const last = hex(words[3]);
    const groups = [last.slice(0, 4), last.slice(4)].map((g) =>
      Number.parseInt(g, 16).toString(16),
    );
    rows.push({
      n: i,
      small: i % 65_536,
      large,
      maybe: isNull ? null : large,
      id: `${uuid.slice(0, 8)}-${uuid.slice(8, 12)}-${uuid.slice(12, 16)}-${uuid.slice(16, 20)}-${uuid.slice(20)}`,
      address: isNull
        ? null
        : new URL(`http://[2001:db8::${groups.join(':')}]`).hostname.slice(1, -1),
      text,
      choice: CHOICES[i % 3] ?? '',
      maybe_choice: i % 3 === 0 ? null : (CHOICES[i % 3] ?? ''),
      word,
      maybe_word: isNull ? null : word,
    });
  }
  return rows;
}

async function insert(into: string, bytes: readonly Uint8Array[]): Promise<void> {
  await clickhouse.insert({
    table: into,
    columns: Object.keys(columns()),
    format: 'Native',
    bytes,
  });
}

async function stored(from: string): Promise<Row[]> {
  const rows = await clickhouse.query({
    sql: 'SELECT * FROM {from:Identifier} ORDER BY n',
    params: { from },
    row,
  });
  await clickhouse.command({ sql: `TRUNCATE TABLE ${from}` });
  return rows;
}

describe('columns in the Native format', () => {
  it('come out of the server as they were set, also when they are used again', async () => {
    const table = new NativeTable(columns());
    for (const seed of [1, 2]) {
      const rows = fill(table, seed);
      await insert('t', table.encode());
      expect(await stored('t')).toEqual(rows);
      table.clear();
    }
  });

  it('can be sent in parts, and gathered from others', async () => {
    const table = new NativeTable(columns());
    const rows = fill(table, 3);
    await insert('t', table.encode(0, 1));
    await insert('t', table.encode(1, 4_000));
    await insert('t', table.encode(4_000, ROWS));
    expect(await stored('t')).toEqual(rows);

    const third = Uint32Array.from({ length: ROWS / 3 }, (_, i) => i * 3);
    const gathered = new NativeTable(columns());
    gathered.replace(third.length);
    const into = gathered.columns;
    const { columns: from } = table;
    into.n.gather(from.n, third, third.length);
    into.small.gather(from.small, third, third.length);
    into.large.gather(from.large, third, third.length);
    into.maybe.gather(from.maybe, third, third.length);
    into.id.gather(from.id, third, third.length);
    into.address.gather(from.address, third, third.length);
    into.text.gather(from.text, third, third.length);
    into.choice.gather(from.choice, third, third.length);
    into.maybe_choice.gather(from.maybe_choice, third, third.length);
    into.word.gather(from.word, third, third.length);
    into.maybe_word.gather(from.maybe_word, third, third.length);
    await insert('t', gathered.encode());
    expect(await stored('t')).toEqual(rows.filter((_, i) => i % 3 === 0));
  });

  it('are cast if the table has other types', async () => {
    const table = new NativeTable(columns());
    const rows = fill(table, 4);
    await insert('plain', table.encode());
    expect(await stored('plain')).toEqual(rows);
  });
});
