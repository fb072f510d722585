import { toTimestamp } from '@sockscope/schemas';
import { noParams, traffic, trafficQuery, trafficRows } from '@sockscope/schemas/api';
import type { Traffic, TrafficQuery, TrafficRow } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ExportDeps } from '../../export/export.js';
import { sendExport } from '../../export/export.js';
import { exportFormatOf } from '../../export/negotiate.js';
import { isClosed } from '../../http/caching.js';
import type { Context } from '../../http/context.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import { presenterOf, shownKeysOf } from '../../mask/presenter.js';
import type { Presenter } from '../../mask/presenter.js';
import type { Viewer } from '../../mask/viewer.js';
import { visibleFilters } from '../../mask/visible.js';
import { ProblemError } from '../../problems/problem.js';
import { exportTraffic } from '../../sql/exports.js';
import { plainOf } from '../../sql/stored.js';
import { isAtEnd } from '../../sql/sums.js';
import { SUMS_BY } from '../../sums/dimensions.js';
import { answerMetaOf, worstOf } from '../../sums/sums.js';
import type { Provenance, SumsDeps } from '../../sums/sums.js';
import { automaticInterval } from '../../time/intervals.js';
import type { Interval } from '../../time/intervals.js';
import { checkSort, rangeFor, rankedKeys } from '../top/ranking.js';
import { rangeOf } from '../../time/range.js';
import { cutsOf, linesOf, restOfLines } from './series.js';
import type { Line } from './series.js';

/** `GET /traffic`: a time series without gaps, whole or split by a field. */
export function serveTraffic(
  app: FastifyInstance,
  deps: QuestionDeps & SumsDeps & ExportDeps,
): void {
  serve(app, deps, {
    path: '/traffic',
    operationId: 'getTraffic',
    summary: 'Time series of bytes, sessions, open sessions and rejections, gaps filled',
    tag: 'analytics',
    scope: 'read',
    audience: 'everyone',
    weight: 'heavy',
    params: noParams,
    query: trafficQuery,
    answer: z.union([traffic, trafficRows]),
    other: ({ query }, context) => maybeExport(deps, query, context),
    ask: ({ query }, context) => trafficOf(deps, query, context),
    closed: (_input, { provenance }, nowMs) => isClosed(provenance.range.toMs, nowMs),
    present: (found, presenter, { query }) =>
      query.shape === 'rows'
        ? rowsOf(shownTraffic(found, presenter, query))
        : shownTraffic(found, presenter, query),
  });
}

/** Points go to ClickHouse in a URL, to be written by it. */
const POINTS_CHARS_MAX = 300_000;

/** Sends a time series as a file if the request asks for one. Returns whether it was. */
async function maybeExport(
  deps: SumsDeps & ExportDeps,
  query: TrafficQuery,
  context: Context,
): Promise<boolean> {
  const format = exportFormatOf(query, context);
  if (format === null) return false;
  await sendExport(deps, context, {
    format,
    name: 'traffic',
    async statement() {
      const found = await trafficOf(deps, query, context);
      const rows = rowsOf(shownTraffic(found, presenterOf(context.mask), query));
      const statement = exportTraffic(rows, query.split ?? null, { format, mask: context.mask });
      if (JSON.stringify(statement.params).length > POINTS_CHARS_MAX) {
        throw new ProblemError('too-expensive', 'too many points: use a longer interval');
      }
      return statement;
    },
  });
  return true;
}

interface TrafficFound {
  readonly cuts: readonly number[];
  readonly interval: Interval;
  readonly lines: readonly Line[];
  readonly provenance: Provenance;
  readonly nowMs: number;
}

async function trafficOf(
  deps: SumsDeps,
  query: TrafficQuery,
  viewer: Viewer,
): Promise<TrafficFound> {
  const { nowMs, mask } = viewer;
  const { split } = query;
  if (split !== undefined) checkSort(split, query.sort);
  const range = split === undefined ? rangeOf(query, nowMs) : rangeFor(split, query, nowMs);
  const filters = await visibleFilters(deps.store, query, viewer);
  const interval =
    query.interval === 'auto'
      ? automaticInterval(range, query.time_zone, query.points)
      : query.interval;
  const cuts = cutsOf(range, interval, query.time_zone);
  const question = { range, filters, cuts };
  if (split === undefined) {
    const found = await linesOf(deps, { ...question, by: 'total' }, viewer);
    return { cuts, interval, ...found, nowMs };
  }
  const by = SUMS_BY[split];
  const shown = shownKeysOf(split, mask);
  const [all, top] = await Promise.all([
    linesOf(deps, { ...question, by: isAtEnd(by) ? by : 'total' }, viewer),
    rankedKeys(
      deps,
      { by, range, filters, shown },
      { sort: query.sort, limit: query.series },
      viewer,
    ),
  ]);
  const keys = top.items.map((item) => plainOf(item.key));
  const own =
    keys.length === 0 ? null : await linesOf(deps, { ...question, by, keys, shown }, viewer);
  const ranked = keys.flatMap(
    (key) => own?.lines.filter((line) => line.key !== null && plainOf(line.key) === key) ?? [],
  );
  const rest = restOfLines(all.lines, ranked, cuts.length);
  return {
    cuts,
    interval,
    lines: rest === null ? ranked : [...ranked, rest],
    provenance: worstOf(all.provenance, top.provenance, ...(own === null ? [] : [own.provenance])),
    nowMs,
  };
}

function shownTraffic(
  { cuts, interval, lines, provenance, nowMs }: TrafficFound,
  presenter: Presenter,
  query: TrafficQuery,
): Traffic {
  const { split } = query;
  return {
    ...answerMetaOf(query, provenance, nowMs),
    interval,
    split: split ?? null,
    buckets: cuts.map(toTimestamp),
    series: lines.map((line) => ({
      ...line,
      key: split === undefined || line.key === null ? null : presenter.key(split, line.key),
    })),
  };
}

/** One flat row for each point of each series, bucket by bucket. */
function rowsOf({ split, buckets, series }: Traffic): TrafficRow[] {
  return buckets.flatMap((bucket, i) =>
    series.map((line): TrafficRow => {
      const at = (values: readonly number[]) => values[i] ?? 0;
      return {
        bucket,
        ...(split === null ? {} : { [split]: line.key, other: line.other }),
        bytes_sent: at(line.bytes_sent),
        bytes_received: at(line.bytes_received),
        packets_sent: at(line.packets_sent),
        packets_received: at(line.packets_received),
        sessions_started: line.sessions_started === null ? null : at(line.sessions_started),
        sessions_closed: at(line.sessions_closed),
        sessions_failed: at(line.sessions_failed),
        sessions_rejected: at(line.sessions_rejected),
        sessions_open: line.sessions_open === null ? null : at(line.sessions_open),
      };
    }),
  );
}
