/** One pass over rows for the sums by every dimension, as SQL. */
import { countsAtEnd, keyColumn, keySql } from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';

/** Dimensions with few values. Their values together are still few, so the rows are grouped by all of them once. */
const FEW: readonly Dimension[] = [
  'total',
  'protocol',
  'proxy',
  'acl_rule',
  'close_reason',
  'status',
];

/** Dimensions by what the rows are grouped by: each alone, but those with few values together. */
export function groupsOf(dimensions: readonly Dimension[]): (readonly Dimension[])[] {
  const few = dimensions.filter((dimension) => FEW.includes(dimension));
  const many = dimensions.filter((dimension) => !FEW.includes(dimension));
  return [...many.map((dimension) => [dimension]), few].filter((group) => group.length > 0);
}

const columnsOf = (group: readonly Dimension[]) =>
  group.map(keyColumn).filter((column) => column !== null);

/** One pass over the rows: each group of dimensions is a grouping set. */
export function groupingSets(groups: readonly (readonly Dimension[])[]): string {
  const sets = groups.map((group) => `(${['start', ...columnsOf(group)].join(', ')})`);
  return `GROUP BY GROUPING SETS (${sets.join(', ')})`;
}

/** Lists the dimensions that a grouped row counts for, each with its key as text and whether figures count at the end. */
export function countsFor(groups: readonly (readonly Dimension[])[]): string {
  const lists = groups.map((group) => {
    const each = group.map(
      (dimension) =>
        `('${dimension}', CAST(${keySql(dimension)}, 'String'), ${countsAtEnd(dimension)})`,
    );
    return { column: columnsOf(group)[0], list: `[${each.join(', ')}]` };
  });
  const last = lists.pop();
  const choices = lists.map(({ column, list }) => `grouping(${column}) = 0, ${list}`);
  return choices.length === 0 ? `${last?.list}` : `multiIf(${choices.join(', ')}, ${last?.list})`;
}
