import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import { timeSql } from './expressions.js';
import type { Query } from './query.js';

const annotationRow = z.object({
  annotation_id: z.string(),
  starts_at: wireTime,
  ends_at: wireTime,
  text: z.string(),
  tags: z.array(z.string()),
  created_at: wireTime,
  created_by: z.string(),
  deleted_at: wireTime.nullable(),
});
export type AnnotationRow = z.output<typeof annotationRow>;

const COLUMNS = `toString(annotation_id) AS annotation_id, starts_at, ends_at, text, tags, created_at,
  created_by, deleted_at`;

/** Annotations that touch a range, the earliest first. */
export function annotationsQuery(of: {
  readonly fromMs: number;
  readonly toMs: number;
  readonly tag: string | undefined;
  readonly limit: number;
}): Query<typeof annotationRow> {
  return {
    name: 'annotations',
    sql: `SELECT ${COLUMNS} FROM annotations FINAL
      WHERE deleted_at IS NULL AND starts_at < ${timeSql('to')} AND ends_at >= ${timeSql('from')}
        ${of.tag === undefined ? '' : 'AND has(tags, {tag:String})'}
      ORDER BY starts_at, annotation_id LIMIT {limit:UInt32}`,
    params: {
      from: of.fromMs,
      to: of.toMs,
      limit: of.limit,
      ...(of.tag === undefined ? {} : { tag: of.tag }),
    },
    row: annotationRow,
  };
}

export function annotationQuery(id: string): Query<typeof annotationRow> {
  return {
    name: 'annotation',
    sql: `SELECT ${COLUMNS} FROM annotations AS a FINAL
      WHERE a.annotation_id = {id:UUID} AND deleted_at IS NULL`,
    params: { id },
    row: annotationRow,
  };
}

const countRow = z.object({ kept: int64 });

/** How many annotations there are. */
export function annotationCountQuery(): Query<typeof countRow> {
  return {
    name: 'annotation_count',
    sql: 'SELECT count() AS kept FROM annotations FINAL WHERE deleted_at IS NULL',
    params: {},
    row: countRow,
  };
}
