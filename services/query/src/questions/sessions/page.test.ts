import { describe, expect, it } from 'vitest';
import type { Query } from '../../sql/query.js';
import type { Store } from '../../store/store.js';
import { createDensityMemory } from './density.js';
import { pageRows } from './page.js';

const HOUR_MS = 3_600_000;
const NOW_MS = Date.parse('2026-03-15T12:00:00.000Z');

/** Asks for a page of one user. @returns the length of each slice that was asked for, in hours, and its limit of rows. */
async function slicesOf(mayReadWeek: boolean): Promise<[hours: number, rowsMax: number | null][]> {
  const asked: [number, number | null][] = [];
  const note = ({ params }: Query, rowsMax: number | null) => {
    const low = Number(params['start_low']);
    asked.push([(Number(params['start_high'] ?? NOW_MS) - low) / HOUR_MS, rowsMax]);
  };
  const store = {
    ask: () => Promise.resolve([]),
    askWithin: (query: Query, rowsMax: number) => {
      note(query, rowsMax);
      return Promise.resolve(mayReadWeek ? [] : null);
    },
    ping: () => Promise.resolve(),
  } as unknown as Store;
  await pageRows(
    { store, densities: createDensityMemory() },
    {
      ask: (query) => {
        note(query, null);
        return Promise.resolve([]);
      },
      leave: () => undefined,
    },
    {
      in: 'started',
      range: { fromMs: NOW_MS - 100 * 24 * HOUR_MS, toMs: null },
      filters: { user: ['rare'] },
      sort: 'started_at',
      order: 'desc',
      position: null,
      limit: 50,
    },
    { nowMs: NOW_MS, signal: new AbortController().signal },
  );
  return asked;
}

describe('the first page of a user', () => {
  it('looks at a week at once if that reads few rows', async () => {
    const [first, second] = await slicesOf(true);
    expect(first).toEqual([168, 32_768]);
    expect(second?.[1]).toBeNull();
  });

  it('looks at an hour first if a week has too many rows', async () => {
    const [first, second, third] = await slicesOf(false);
    expect(first).toEqual([168, 32_768]);
    expect(second).toEqual([1, null]);
    expect(third).toEqual([168, null]);
  });
});
