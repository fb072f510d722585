import '@sockscope/runtime/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { createTestTables } from '../testing/fold-into-tables.js';
import { claimSource, readSource, storeSource } from './source.js';
import type { Source } from './source.js';

const { signal } = new AbortController();
const FIRST = { topic: 'events', clusterId: 'one' };
let tables: Awaited<ReturnType<typeof createTestTables>>;

beforeEach(async () => {
  tables = await createTestTables(inject('clickhouseUrl'));
});

afterEach(async () => {
  await tables.drop();
});

const claim = (source: Source) => claimSource(tables.clickhouse, source, signal);

describe('a database', () => {
  it('remembers its topic and Kafka cluster, and refuses any other until that is decided', async () => {
    await claim(FIRST);
    await claim(FIRST);
    for (const other of [
      { ...FIRST, topic: 'others' },
      { ...FIRST, clusterId: 'two' },
    ]) {
      await expect(claim(other)).rejects.toMatchObject({ code: 'source_differs' });
    }
    expect(await readSource(tables.clickhouse)).toEqual(FIRST);
    await storeSource(tables.clickhouse, { ...FIRST, clusterId: 'two' });
    await claim({ ...FIRST, clusterId: 'two' });
  });

  it('takes one of two sources that come at the same time', async () => {
    const outcomes = await Promise.allSettled([claim(FIRST), claim({ ...FIRST, topic: 'others' })]);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  it('made by a version that remembered nothing refuses a topic beside the one that it has', async () => {
    await tables.clickhouse.command({
      sql: "INSERT INTO ingest_watermarks (topic, partition) VALUES ('events', 0)",
    });
    await expect(claim({ ...FIRST, topic: 'others' })).rejects.toThrow(
      /holds the sessions of topic events/,
    );
    await claim(FIRST);
  });
});
