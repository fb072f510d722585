import {
  API_LIMITS,
  noParams,
  TOP_FIELDS,
  TOP_LISTS,
  topAnswers,
  topQuery,
} from '@sockscope/schemas/api';
import type { KeyFigures, TopField, TopQuery } from '@sockscope/schemas/api';
import { DAY_MS } from '@sockscope/schemas/sums';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ExportDeps } from '../../export/export.js';
import { sendExport } from '../../export/export.js';
import { exportFormatOf } from '../../export/negotiate.js';
import { isClosed } from '../../http/caching.js';
import type { Context } from '../../http/context.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import type { Mask } from '../../mask/mask.js';
import { presenterOf, shownKeysOf } from '../../mask/presenter.js';
import type { Presenter } from '../../mask/presenter.js';
import { visibleFilters } from '../../mask/visible.js';
import { exportTop } from '../../sql/exports.js';
import { plainOf } from '../../sql/stored.js';
import type { KeyPosition } from '../../sql/top.js';
import { isAtEnd } from '../../sql/sums.js';
import { SUMS_BY } from '../../sums/dimensions.js';
import type { Span } from '../../sums/plan.js';
import { answerMetaOf, prepare, zeroSums } from '../../sums/sums.js';
import type { SumsDeps } from '../../sums/sums.js';
import { keyFiguresOf } from '../../sums/measures.js';
import { periodBefore, shownRange } from '../../time/range.js';
import { bindingOf, cursorTime, decodeCursor, encodeCursor } from '../cursor.js';
import { checkSort, figuresOfKeys, rangeFor, rankable, rankedKeys } from './ranking.js';
import type { RankedKey, Ranking } from './ranking.js';

const SUMMARIES: Readonly<Record<TopField, string>> = {
  user: 'Users, ranked by a figure',
  dest_host: 'Destinations as clients requested them, ranked by a figure',
  dest_ip: 'Destination addresses, ranked by a figure, over at most 7 days',
  egress_ip: 'Addresses from which proxies reached destinations, ranked by a figure',
  dest_port: 'Destination ports, ranked by a figure',
  source_ip: 'Source addresses, ranked by a figure',
  protocol: 'Protocols, ranked by a figure',
  proxy_id: 'Proxies, ranked by a figure',
  acl_rule_matched: 'ACL rules, ranked by a figure',
  close_reason: 'Why sessions ended',
  status: 'How sessions ended',
};

/** Value and sessions of the last row, its key, and the range and time of the first page. */
const position = z
  .tuple([z.int().min(0), z.int().min(0), z.string(), cursorTime, cursorTime, cursorTime])
  .refine(([, , , fromMs, toMs]) => fromMs < toMs && toMs - fromMs <= RANGE_MAX_MS);
const RANGE_MAX_MS = API_LIMITS.range_days_max * DAY_MS;

/** `GET /top/…`: one list for each field that is worth ranking, page by page through all keys. */
export function serveTopLists(
  app: FastifyInstance,
  deps: QuestionDeps & SumsDeps & ExportDeps,
): void {
  for (const field of TOP_FIELDS) {
    const { path } = TOP_LISTS[field];
    serve(app, deps, {
      path: `/top/${path}`,
      operationId: `listTop${path.replaceAll(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase())}`,
      summary: SUMMARIES[field],
      tag: 'analytics',
      scope: 'read',
      audience: 'everyone',
      weight: 'heavy',
      params: noParams,
      query: topQuery,
      answer: topAnswers[field] as z.ZodType<TopAnswer>,
      closed: (_input, { ranking }: Found, nowMs) => isClosed(ranking.provenance.range.toMs, nowMs),
      other: ({ query }, context) => maybeExport(deps, field, query, context),
      ask: ({ query }, context): Promise<Found> => topOf(deps, field, query, context),
      present: (found: Found, presenter, { query }) => shownTop(field, query, found, presenter),
    });
  }
}

type TopAnswer = Record<string, unknown>;

interface Found {
  readonly ranking: Ranking;
  readonly previous: {
    readonly range: Span;
    readonly of: ReadonlyMap<string, KeyFigures>;
  } | null;
  readonly next: string | null;
  /** When the first page was read. */
  readonly asOfMs: number;
}

/** Sends a list as a file if the request asks for one. Returns whether it was. */
async function maybeExport(
  deps: SumsDeps & ExportDeps,
  field: TopField,
  query: TopQuery,
  context: Context,
): Promise<boolean> {
  const format = exportFormatOf(query, context);
  if (format === null) return false;
  checkSort(field, query.sort);
  await sendExport(deps, context, {
    format,
    name: `top/${TOP_LISTS[field].path}`,
    async statement() {
      const filters = await visibleFilters(deps.store, query, context);
      const range = rangeFor(field, query, context.nowMs);
      const shown = shownKeysOf(field, context.mask);
      const question = { by: SUMS_BY[field], range, filters, shown };
      const { of } = prepare(question, await deps.coverage.read());
      const list = { field, sort: query.sort, limit: query.limit ?? null };
      return exportTop(of, list, { format, mask: context.mask });
    },
  });
  return true;
}

async function topOf(
  deps: SumsDeps,
  field: TopField,
  query: TopQuery,
  context: Context,
): Promise<Found> {
  checkSort(field, query.sort);
  const { mask, nowMs } = context;
  const by = SUMS_BY[field];
  const binding = bindingOf(`top ${field}`, query);
  const cursor = query.cursor === undefined ? null : decodeCursor(binding, query.cursor, position);
  const after: KeyPosition | null =
    cursor === null ? null : { value: cursor[0], sessions: cursor[1], key: cursor[2] };
  const range =
    cursor === null
      ? rangeFor(field, query, nowMs)
      : rankable(field, { fromMs: cursor[3], toMs: cursor[4] });
  const asOfMs = cursor === null ? nowMs : cursor[5];
  const filters = await visibleFilters(deps.store, query, context);
  const question = { by, range, filters, shown: shownKeysOf(field, mask) };
  const ranking = await rankedKeys(
    deps,
    question,
    { sort: query.sort, limit: query.limit ?? API_LIMITS.top_default, after },
    context,
  );
  const before = periodBefore(range, query.time_zone);
  const keys = ranking.items.map(({ key }) => plainOf(key));
  const previous =
    query.previous === true && keys.length > 0
      ? await figuresOfKeys(deps, { ...question, range: before, keys }, query.sort, context)
      : { of: new Map<string, KeyFigures>(), range: before };
  const last = ranking.items.at(-1);
  return {
    ranking,
    previous: query.previous === true ? previous : null,
    next:
      ranking.hasMore && last !== undefined
        ? encodeCursor(binding, [
            ...positionOf(field, last, query, mask),
            range.fromMs,
            range.toMs,
            asOfMs,
          ])
        : null,
    asOfMs,
  };
}

/** The key as it is shown: a cursor must not reveal more than the page. */
function positionOf(field: TopField, item: RankedKey, query: TopQuery, mask: Mask) {
  const value = item[query.sort] ?? 0;
  const sessions = isAtEnd(SUMS_BY[field]) ? item.sessions_ended : (item.sessions_started ?? 0);
  return [value, sessions, String(presenterOf(mask).key(field, item.key) ?? '')];
}

function shownTop(
  field: TopField,
  query: TopQuery,
  { ranking, previous, next, asOfMs }: Found,
  presenter: Presenter,
): TopAnswer {
  const nothing = keyFiguresOf(zeroSums(), SUMS_BY[field]);
  return {
    ...answerMetaOf(query, ranking.provenance, asOfMs),
    sort: query.sort,
    items: ranking.items.map(({ key, ...figures }) => ({
      [field]: presenter.key(field, key),
      ...figures,
      ...(previous === null ? {} : { previous: previous.of.get(plainOf(key)) ?? nothing }),
    })),
    other: ranking.other,
    total: ranking.total,
    ...(previous === null ? {} : { previous_range: shownRange(previous.range) }),
    next_cursor: next,
  };
}
