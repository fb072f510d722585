import type { KeyFigures, RangeParams, SumSort, TopField } from '@sockscope/schemas/api';
import { DAY_MS } from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';
import { invalidParameters, ProblemError } from '../../problems/problem.js';
import { plainOf } from '../../sql/stored.js';
import type { Stored } from '../../sql/stored.js';
import { isAtEnd } from '../../sql/sums.js';
import type { Sums, SumsBy } from '../../sql/sums.js';
import type { KeyPosition, TopRow } from '../../sql/top.js';
import type { Asking } from '../../store/store.js';
import { SUMS_BY } from '../../sums/dimensions.js';
import { keyFiguresOf } from '../../sums/measures.js';
import { topSums, topSumsOf, zeroSums } from '../../sums/sums.js';
import { rangeOf } from '../../time/range.js';
import type { Span } from '../../sums/plan.js';
import type { Provenance, SumsDeps, SumsQuestion } from '../../sums/sums.js';

/** There are as many addresses of destinations as hosts, and no sums of them: sessions are counted. */
const ADDRESS_DAYS_MAX = 7;

export type RankedKey = KeyFigures & { readonly key: Stored; readonly share: number };

export interface Ranking {
  readonly items: RankedKey[];
  /** Whether there are keys after these. */
  readonly hasMore: boolean;
  readonly other: KeyFigures | null;
  readonly total: KeyFigures;
  /** The same, as it is summed. */
  readonly sums: Sums;
  readonly provenance: Provenance;
}

/** The largest keys of one dimension after a position, with the total and the rest. */
export async function rankedKeys(
  deps: SumsDeps,
  question: SumsQuestion,
  page: { readonly sort: SumSort; readonly limit: number; readonly after?: KeyPosition | null },
  asking: Asking,
): Promise<Ranking> {
  const found = await topSums(deps, question, { ...page, limit: page.limit + 1 }, asking);
  return rankingOf(found, question.by, page);
}

/** The same of several dimensions. */
export async function rankedKeysOf(
  deps: SumsDeps,
  questions: readonly (SumsQuestion & { readonly by: Dimension })[],
  page: { readonly sort: SumSort; readonly limit: number },
  asking: Asking,
): Promise<Ranking[]> {
  const found = await topSumsOf(deps, questions, { ...page, limit: page.limit + 1 }, asking);
  return found.map((each, i) => rankingOf(each, questions[i]?.by ?? 'total', page));
}

function rankingOf(
  { rows, provenance }: { readonly rows: readonly TopRow[]; readonly provenance: Provenance },
  by: SumsBy,
  page: { readonly sort: SumSort; readonly limit: number; readonly after?: KeyPosition | null },
): Ranking {
  const isTotal = (row: TopRow) => row.is_total === 1;
  const sums = rows.find(isTotal) ?? zeroSums();
  const total = keyFiguresOf(sums, by);
  const keys = rows.filter((row) => !isTotal(row));
  const whole = total[page.sort] ?? 0;
  const items = keys.slice(0, page.limit).map((row): RankedKey => {
    const figures = keyFiguresOf(row, by);
    return {
      key: row.key,
      ...figures,
      share: whole === 0 ? 0 : (figures[page.sort] ?? 0) / whole,
    };
  });
  const isFirst = page.after === undefined || page.after === null;
  return {
    items,
    hasMore: keys.length > page.limit,
    other: isFirst ? restOf(total, items) : null,
    total,
    sums,
    provenance,
  };
}

/** The rest of the total that is not in the items; null if there is none. */
export function restOf(total: KeyFigures, items: readonly KeyFigures[]): KeyFigures | null {
  const names = Object.keys(total) as (keyof KeyFigures)[];
  const rest = { ...total };
  for (const item of items) {
    for (const name of names) {
      const [left, taken] = [rest[name], item[name]];
      if (left !== null && taken !== null) rest[name] = left - taken;
    }
  }
  return names.some((name) => rest[name] !== 0 && rest[name] !== null) ? rest : null;
}

/** The same keys in another range. */
export async function figuresOfKeys(
  deps: SumsDeps,
  question: SumsQuestion & { readonly by: SumsBy; readonly keys: readonly string[] },
  sort: SumSort,
  asking: Asking,
): Promise<{ readonly of: ReadonlyMap<string, KeyFigures>; readonly range: Span }> {
  const { rows, provenance } = await topSums(
    deps,
    question,
    { sort, limit: question.keys.length },
    asking,
  );
  const of = new Map(
    rows
      .filter((row) => row.is_total === 0)
      .map((row) => [plainOf(row.key), keyFiguresOf(row, question.by)]),
  );
  return { of, range: provenance.range };
}

/** @throws ProblemError invalid-parameters if there is no figure to sort by. */
export function checkSort(field: TopField, sort: SumSort): void {
  if (sort === 'sessions_started' && isAtEnd(SUMS_BY[field])) {
    const message = 'this list counts sessions at their end: sort by sessions_ended';
    throw invalidParameters([{ parameter: 'sort', message }]);
  }
}

/** The range over which a field is ranked. @throws ProblemError too-expensive */
export function rangeFor(field: TopField, query: RangeParams, nowMs: number): Span {
  return rankable(field, rangeOf(query, nowMs));
}

/** The same range. @throws ProblemError too-expensive if a field is not ranked over one so long. */
export function rankable(field: TopField, range: Span): Span {
  if (field === 'dest_ip' && range.toMs - range.fromMs > ADDRESS_DAYS_MAX * DAY_MS) {
    throw new ProblemError(
      'too-expensive',
      `by ${field} sessions are counted over at most ${ADDRESS_DAYS_MAX} days: narrow the range`,
      { longestRangeMs: ADDRESS_DAYS_MAX * DAY_MS },
    );
  }
  return range;
}
