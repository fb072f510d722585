import type { SessionsQuery, TopQuery, Traffic, TrafficQuery } from '@sockscope/schemas/api';
import type { Context } from '../http/context.js';
import { invalidParameters, ProblemError } from '../problems/problem.js';
import { shownTogether, visibleFilters } from '../mask/visible.js';
import { filterOf, sessionsTableOf } from '../filters/filters.js';
import { rangeOf } from '../time/range.js';
import { prepareTop } from '../sums/sums.js';
import type { SumsDeps } from '../sums/sums.js';
import { traffic } from '../questions/traffic/traffic.js';
import { exportSessions, exportTop, exportTraffic } from '../sql/exports.js';
import type { TopDimension, TrafficPoint } from '../sql/exports.js';
import { allOf } from '../sql/query.js';
import { startedWithin } from '../sql/sessions.js';
import { sendExport } from './export.js';
import type { ExportDeps } from './export.js';
import { negotiate } from './negotiate.js';

/** The filters as they were sent, for the audit log. */
function asSent(query: object): object {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
}

/** Sends sessions as a file where that is wanted. Returns whether it was. */
export async function maybeExportSessions(
  deps: SumsDeps & ExportDeps,
  query: SessionsQuery,
  context: Context,
): Promise<boolean> {
  const format = negotiate(query.format, context.request.headers.accept);
  if (format === 'json') return false;
  if (query.cursor !== undefined) {
    throw invalidParameters([{ parameter: 'cursor', message: 'an export has no pages' }]);
  }
  const subject = { name: 'sessions', filters: asSent(query) };
  await sendExport(deps, context, format, subject, async () => {
    const filters = await visibleFilters(deps.store, query, context);
    return exportSessions(
      {
        table: sessionsTableOf(filters),
        filter: allOf([
          startedWithin(query.start_after ?? null, query.start_before ?? null),
          filterOf(filters),
        ]),
        sort: query.sort,
        order: query.order,
        limit: query.limit ?? null,
      },
      { format, mask: context.mask },
    );
  });
  return true;
}

/** Sends a top list as a file where that is wanted. Returns whether it was. */
export async function maybeExportTop(
  deps: SumsDeps & ExportDeps,
  list: string,
  dimension: TopDimension,
  query: TopQuery,
  context: Context,
): Promise<boolean> {
  const format = negotiate(query.format, context.request.headers.accept);
  if (format === 'json') return false;
  await sendExport(deps, context, format, { name: list, filters: asSent(query) }, async () => {
    const filters = await visibleFilters(deps.store, query, context);
    const range = rangeOf(query, context.nowMs);
    const shownAs = shownTogether(dimension, context.mask);
    const of = await prepareTop(deps, { dimension, range, filters, shownAs });
    return exportTop(of, query.by, query.limit ?? null, { format, mask: context.mask });
  });
  return true;
}

/** Points go to ClickHouse in a URL, to be written by it. */
const POINTS_CHARS_MAX = 300_000;

/** Sends a time series as a file where that is wanted. Returns whether it was. */
export async function maybeExportTraffic(
  deps: SumsDeps & ExportDeps,
  query: TrafficQuery,
  context: Context,
): Promise<boolean> {
  const format = negotiate(query.format, context.request.headers.accept);
  if (format === 'json') return false;
  const subject = { name: 'traffic', filters: asSent(query) };
  await sendExport(deps, context, format, subject, async () => {
    const filters = await visibleFilters(deps.store, query, context);
    const found = await traffic(deps, query, filters, context, context.nowMs);
    const points = pointsOf(found, (key) =>
      query.split === 'user' ? context.mask.user(key) : key,
    );
    const statement = exportTraffic(points, found.split, { format, mask: context.mask });
    if (JSON.stringify(statement.params).length > POINTS_CHARS_MAX) {
      throw new ProblemError('too-expensive', 'too many points: take a coarser interval');
    }
    return statement;
  });
  return true;
}

function pointsOf(found: Traffic, shown: (key: string) => string): TrafficPoint[] {
  return found.series.flatMap((line) =>
    found.buckets.map((bucket, i): TrafficPoint => {
      const at = (values: readonly number[]) => values[i] ?? 0;
      return [
        Date.parse(bucket),
        line.key === null ? null : shown(line.key),
        line.other ? 1 : 0,
        [
          at(line.bytes_sent),
          at(line.bytes_received),
          at(line.packets_sent),
          at(line.packets_received),
          at(line.started),
          at(line.closed),
          at(line.failed),
          at(line.rejected),
        ],
        line.active === null ? null : at(line.active),
      ];
    }),
  );
}
