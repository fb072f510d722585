import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import {
  annotation,
  annotationBody,
  ANNOTATION_LIMITS,
  annotationParams,
  annotations,
  annotationsQuery,
  noParams,
} from '@sockscope/schemas/api';
import type { Annotation } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { v7 as uuidV7 } from 'uuid';
import { actorOf } from '../audit/log.js';
import type { AuditLog } from '../audit/log.js';
import { mayDo } from '../auth/principal.js';
import { serve } from '../http/question.js';
import type { QuestionDeps } from '../http/question.js';
import { serveWrite } from '../http/write.js';
import { ProblemError } from '../problems/problem.js';
import {
  annotationCountQuery,
  annotationQuery,
  annotationsQuery as touchingQuery,
} from '../sql/annotations.js';
import type { AnnotationRow } from '../sql/annotations.js';
import type { Store } from '../store/store.js';
import { rangeOf } from '../time/range.js';

export interface AnnotationsDeps {
  readonly clickhouse: ClickHouse;
  readonly store: Store;
  readonly audit: AuditLog;
}

const COLUMNS = [
  'annotation_id',
  'starts_at',
  'ends_at',
  'text',
  'tags',
  'created_at',
  'created_by',
  'deleted_at',
  'version',
] as const;

async function insert(clickhouse: ClickHouse, row: AnnotationRow, version: number): Promise<void> {
  const cells = { ...row, version };
  await clickhouse.insert({
    table: 'annotations',
    columns: COLUMNS,
    format: 'JSONCompactEachRow',
    bytes: [Buffer.from(`${JSON.stringify(COLUMNS.map((name) => cells[name]))}\n`)],
    settings: { date_time_input_format: 'best_effort' },
  });
}

/**
 * `GET /annotations` for callers that may see all users, because a note may name any of them; `POST` and
 * `DELETE` for administrators.
 */
export function serveAnnotations(app: FastifyInstance, deps: QuestionDeps & AnnotationsDeps): void {
  const { clickhouse, store, audit } = deps;
  serve(app, deps, {
    path: '/annotations',
    operationId: 'listAnnotations',
    summary: 'Notes on moments and ranges of time',
    tag: 'annotations',
    scope: 'read',
    audience: 'untied',
    weight: 'light',
    params: noParams,
    query: annotationsQuery,
    answer: annotations,
    async ask({ query }, context) {
      // A note may name anybody, so a caller that may not see all users by name gets none.
      const isHidden = context.mask.users !== 'none';
      const range = rangeOf(query, context.nowMs);
      const wanted = { ...range, tag: query.tag, limit: query.limit + 1 };
      const rows = isHidden ? [] : await store.ask(touchingQuery(wanted), context);
      return { rows, isAdmin: mayDo(context.principal, 'admin') };
    },
    present: ({ rows, isAdmin }, _presenter, { query }) => ({
      items: rows.slice(0, query.limit).map((row) => shown(row, isAdmin)),
      truncated: rows.length > query.limit,
    }),
  });
  serveWrite(app, deps, {
    method: 'POST',
    path: '/annotations',
    operationId: 'createAnnotation',
    summary: 'Adds a note to a moment or a range; needs the scope admin',
    tag: 'annotations',
    params: noParams,
    body: annotationBody,
    answer: annotation,
    scope: 'admin',
    audience: 'untied',
    async change({ body }, context) {
      const [{ kept } = { kept: 0 }] = await store.ask(annotationCountQuery(), context);
      if (kept >= ANNOTATION_LIMITS.kept) {
        throw new ProblemError(
          'forbidden',
          `there are ${ANNOTATION_LIMITS.kept} annotations, the most that are kept; delete some`,
        );
      }
      const { nowMs, principal } = context;
      const startsAt = toTimestamp(Date.parse(body.starts_at));
      const row: AnnotationRow = {
        annotation_id: uuidV7(),
        starts_at: startsAt,
        ends_at: body.ends_at === null ? startsAt : toTimestamp(Date.parse(body.ends_at)),
        text: body.text,
        tags: [...new Set(body.tags)],
        created_at: toTimestamp(nowMs),
        created_by: principal.id,
        deleted_at: null,
      };
      await audit.around(
        {
          ...actorOf(context),
          action: 'annotations/create',
          format: '',
          details: { annotation_id: row.annotation_id },
        },
        () => insert(clickhouse, row, nowMs),
      );
      return shown(row, true);
    },
  });
  serveWrite(app, deps, {
    method: 'DELETE',
    path: '/annotations/:annotation_id',
    operationId: 'deleteAnnotation',
    summary: 'Deletes a note; needs the scope admin',
    tag: 'annotations',
    params: annotationParams,
    scope: 'admin',
    audience: 'untied',
    async change({ params }, context) {
      const [row] = await store.ask(annotationQuery(params.annotation_id), context);
      if (row === undefined) throw new ProblemError('not-found', 'there is no such annotation');
      const { nowMs } = context;
      // Later than the row that it replaces, should a clock have been set back. The text does not stay.
      const version = Math.max(nowMs, Date.parse(row.created_at) + 1);
      await audit.around(
        {
          ...actorOf(context),
          action: 'annotations/delete',
          format: '',
          details: { annotation_id: row.annotation_id },
        },
        () =>
          insert(
            clickhouse,
            { ...row, text: '', tags: [], deleted_at: toTimestamp(nowMs) },
            version,
          ),
      );
    },
  });
}

function shown(row: AnnotationRow, isAdmin: boolean): Annotation {
  const { deleted_at: _deleted, ...rest } = row;
  return {
    ...rest,
    ends_at: row.ends_at === row.starts_at ? null : row.ends_at,
    created_by: isAdmin ? row.created_by : null,
  };
}
