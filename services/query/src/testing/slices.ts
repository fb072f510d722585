import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { BUCKETS_TABLE, SLICE_MS } from '@sockscope/schemas/sums';
import { insertRows } from './load.js';
import { byNumber, CHANGED_SLICES, goneOf, sumRows } from './rollups.js';
import type { World } from './world.js';

const WRITER = '019c0f6e-7a00-7c3e-9d51-000000000002';
const ANOTHER_WRITER = '019c0f6e-7a00-7c3e-9d51-000000000003';
const COMPUTED_AT = '2026-03-02T00:00:00.000Z';
const BEFORE = '2026-03-01T00:00:00.000Z';
const SLICES = [0, 1, 2, 3, 4, 5] as const;
const UNFINISHED: readonly number[] = [2, 3];

/**
 * Why slices of an hour must not be used: some have changed or are not finished; a change named no slice; a process
 * of a former version summed the hour; or their rows have expired, and their marks have not.
 */
export const SLICE_FLAWS = ['changed', 'unfinished', 'unnamed', 'former', 'expired'] as const;
export type SliceFlaw = (typeof SLICE_FLAWS)[number];

export interface SlicedHour {
  readonly hourMs: number;
  readonly flaw: SliceFlaw | null;
}

/** The slices of an hour with a flaw that must not be used. */
export function unusable(flaw: SliceFlaw | null): readonly number[] {
  switch (flaw) {
    case null:
      return [];
    case 'changed':
      return CHANGED_SLICES;
    case 'unfinished':
      return UNFINISHED;
    case 'unnamed':
    case 'former':
    case 'expired':
      return SLICES;
  }
}

/** Stores sums of slices as the ingest service keeps them, computed plainly. Those that must not be used are wrong. */
export async function storeSlices(
  clickhouse: ClickHouse,
  world: World,
  hours: readonly SlicedHour[],
): Promise<void> {
  const rows = hours
    .filter(({ flaw }) => flaw !== 'expired')
    .flatMap(({ hourMs, flaw }) =>
      SLICES.flatMap((slice) => {
        const fromMs = hourMs + slice * SLICE_MS;
        return sumRows(world, { fromMs, toMs: fromMs + SLICE_MS }, unusable(flaw).includes(slice));
      }),
    );
  const older = [...rows, ...rows.map(goneOf)].map((row) => ({
    ...row,
    bytes_sent: 1,
    sessions_closed: 99,
    computed_at: BEFORE,
  }));
  await insertRows(clickhouse, 'rollup_10m', older);
  await insertRows(
    clickhouse,
    'rollup_10m',
    rows.map((row) => ({ ...row, computed_at: COMPUTED_AT })),
  );
  await insertRows(clickhouse, BUCKETS_TABLE, hours.flatMap(marksOf));
}

function marksOf({ hourMs, flaw }: SlicedHour): Record<string, unknown>[] {
  const common = { span: 'hour', bucket: toTimestamp(hourMs), drawn: COMPUTED_AT };
  const finished = SLICES.filter((slice) => !(flaw === 'unfinished' && UNFINISHED.includes(slice)));
  const own = {
    ...common,
    writer: WRITER,
    changed_through: 2,
    slices_changed: {
      ...byNumber(SLICES, 1),
      ...byNumber(flaw === 'changed' ? CHANGED_SLICES : [0], 2),
    },
    summed_through: 2,
    slices_summed: { ...byNumber(SLICES, 1), 0: 2 },
    slices_finished: byNumber(finished, Date.parse(COMPUTED_AT) * 1_000),
    knows_slices: 1,
  };
  const through = flaw === 'unnamed' ? 1 : 0;
  const other = {
    ...common,
    writer: ANOTHER_WRITER,
    changed_through: through,
    slices_changed: {},
    summed_through: through,
    slices_summed: {},
    slices_finished: {},
    knows_slices: flaw === 'former' ? 0 : 1,
  };
  return [own, other];
}
