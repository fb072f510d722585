/** One pass over rows for the sums by every dimension, as SQL: each dimension is a grouping set. */
import { countsAtEnd, keyColumn, keySql } from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';

/** @param before columns of every set. */
export function groupingSets(dimensions: readonly Dimension[], before: readonly string[]): string {
  const sets = dimensions.map((dimension) => {
    const column = keyColumn(dimension);
    return `(${[...before, ...(column === null ? [] : [column])].join(', ')})`;
  });
  return `GROUP BY GROUPING SETS (${sets.join(', ')})`;
}

/** Returns what stands for the dimension that a grouped row is of. */
function choiceOf(dimensions: readonly Dimension[], sqlOf: (of: Dimension) => string): string {
  const isOf = (dimension: Dimension) => `grouping(${keyColumn(dimension)}) = 0`;
  // The total has no column, so it comes last.
  const withColumn = dimensions.filter((dimension) => keyColumn(dimension) !== null);
  const rest = dimensions.find((dimension) => keyColumn(dimension) === null) ?? withColumn.pop();
  const choices = withColumn.map((dimension) => `${isOf(dimension)}, ${sqlOf(dimension)}`);
  const last = rest === undefined ? [] : [sqlOf(rest)];
  return choices.length === 0 ? last.join('') : `multiIf(${[...choices, ...last].join(', ')})`;
}

/** The dimension of a grouped row. */
export const dimensionOf = (dimensions: readonly Dimension[]) =>
  choiceOf(dimensions, (dimension) => `'${dimension}'`);

/** The key of a grouped row as text. It is made once per group, because rows are grouped by native types. */
export const keyOf = (dimensions: readonly Dimension[]) =>
  choiceOf(dimensions, (dimension) => `CAST(${keySql(dimension)}, 'String')`);

/** Whether figures of a grouped row count at the end of a session. */
export const isAtEnd = (dimensions: readonly Dimension[]) =>
  choiceOf(dimensions, (dimension) => String(countsAtEnd(dimension)));
