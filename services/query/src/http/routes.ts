import {
  activeSessionsPage,
  API_LIMITS,
  clashConfigs,
  clashConnections,
  clashQuery,
  clashVersion,
  activeSessionsQuery,
  destinationParams,
  destinationProfile,
  flows,
  flowsQuery,
  noParams,
  noQuery,
  profileQuery,
  session,
  sessionParams,
  sessionsPage,
  sessionsQuery,
  stats,
  statsQuery,
  timelinePage,
  timelineQuery,
  topAclRules,
  topCloseReasons,
  topDestinations,
  topPorts,
  topQuery,
  topSources,
  topUsers,
  traffic,
  trafficQuery,
  userParams,
  userProfile,
} from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { closeReason } from '@sockscope/schemas';
import { activeSessions } from '../questions/sessions/active.js';
import { clashConnectionsOf } from '../clash/connections.js';
import type { ExportDeps } from '../export/export.js';
import { maybeExportSessions, maybeExportTop, maybeExportTraffic } from '../export/questions.js';
import { isHidden } from '../mask/mask.js';
import type { Mask } from '../mask/mask.js';
import {
  shownTogether,
  tiesAsShown,
  visibleFilters,
  visibleSession,
  visibleUser,
} from '../mask/visible.js';
import { restrictedTo } from '../filters/filters.js';
import { flows as answerFlows } from '../questions/flows/flows.js';
import {
  destinationProfile as answerDestinationProfile,
  userProfile as answerUserProfile,
} from '../questions/profile/profile.js';
import type { SessionsDeps } from '../questions/sessions/sessions.js';
import {
  sessionById,
  sessionsPage as answerSessionsPage,
  sessionTimeline,
} from '../questions/sessions/sessions.js';
import { stats as answerStats } from '../questions/stats/stats.js';
import type { SumsDeps } from '../sums/sums.js';
import { topAnswer } from '../questions/top/top.js';
import { traffic as answerTraffic } from '../questions/traffic/traffic.js';
import { isClosed } from './caching.js';
import { serve } from './question.js';
import type { QuestionDeps } from './question.js';

const closedRange = (
  asked: { readonly query: { readonly to?: number | undefined } },
  _answer: unknown,
  nowMs: number,
) => isClosed(asked.query.to, nowMs);

/** Users of a list that is in order of something, with the places of equals given anew where users are masked. */
function visibleUsers<T extends { readonly user: string }>(
  items: readonly T[],
  mask: Mask,
  isTie: (one: T, other: T) => boolean,
): T[] {
  if (mask.users === 'none') return [...items];
  const masked = items.map((item) => ({ ...item, user: mask.user(item.user) }));
  return tiesAsShown(masked, isTie, (item) => item.user);
}

const sameBytes = (one: { readonly bytes: number }, other: { readonly bytes: number }) =>
  one.bytes === other.bytes;

type RoutesDeps = QuestionDeps &
  SumsDeps &
  SessionsDeps &
  ExportDeps & { readonly version: string };

/** The questions, under `/api/v1`. */
export function serveQuestions(app: FastifyInstance, deps: RoutesDeps): void {
  serveSessions(app, deps);
  serveTopLists(app, deps);
  serveAnalytics(app, deps);
  serveClash(app, deps);
}

function serveSessions(app: FastifyInstance, deps: RoutesDeps): void {
  const { store } = deps;
  serve(app, deps, {
    path: '/sessions',
    operationId: 'listSessions',
    summary: 'History of sessions, the newest first unless sorted otherwise',
    tag: 'sessions',
    weight: 'light',
    params: noParams,
    query: sessionsQuery,
    answer: sessionsPage,
    other: ({ query }, context) => maybeExportSessions(deps, query, context),
    closed: ({ query }, page, nowMs) =>
      isClosed(query.start_before, nowMs) && page.items.every((item) => item.status !== 'active'),
    ask: async ({ query }, context) => {
      const filters = await visibleFilters(store, query, context);
      const limited = { ...query, limit: query.limit ?? API_LIMITS.page_size_default };
      const page = await answerSessionsPage(deps, limited, filters, context, context.nowMs);
      return { ...page, items: page.items.map((item) => visibleSession(item, context.mask)) };
    },
  });
  serve(app, deps, {
    path: '/sessions/active',
    operationId: 'listActiveSessions',
    summary: 'Sessions open now, with their current rates',
    tag: 'sessions',
    weight: 'light',
    params: noParams,
    query: activeSessionsQuery,
    answer: activeSessionsPage,
    ask: async ({ query }, context) => {
      const { mask } = context;
      const filters = await visibleFilters(store, query, context);
      const page = await activeSessions(deps, query, filters, context, context.nowMs);
      return {
        ...page,
        items: page.items.map((item) => visibleSession(item, mask)),
        users: visibleUsers(
          page.users,
          mask,
          (one, other) =>
            one.bytes_sent_per_second + one.bytes_received_per_second ===
              other.bytes_sent_per_second + other.bytes_received_per_second &&
            one.sessions === other.sessions,
        ),
      };
    },
  });
  serve(app, deps, {
    path: '/sessions/:session_id',
    operationId: 'getSession',
    summary: 'One session',
    tag: 'sessions',
    weight: 'light',
    params: sessionParams,
    query: noQuery,
    answer: session,
    closed: (_asked, found, nowMs) =>
      found.ended_at !== null && isClosed(Date.parse(found.ended_at), nowMs),
    ask: async ({ params }, context) =>
      visibleSession(
        await sessionById(deps, params.session_id, context.onlyUser, context),
        context.mask,
      ),
  });
  serve(app, deps, {
    path: '/sessions/:session_id/events',
    operationId: 'listSessionEvents',
    summary: 'The timeline of one session: its events in order, gaps and late ones marked',
    tag: 'sessions',
    weight: 'light',
    params: sessionParams,
    query: timelineQuery,
    answer: timelinePage,
    ask: ({ params, query }, context) =>
      sessionTimeline(deps, params.session_id, context.onlyUser, query, context),
  });
}

function serveTopLists(app: FastifyInstance, deps: RoutesDeps): void {
  const common = {
    tag: 'analytics',
    weight: 'heavy',
    params: noParams,
    query: topQuery,
    closed: closedRange,
  } as const;
  const lists = [
    {
      path: '/top/users',
      operationId: 'listTopUsers',
      summary: 'The users with the most of something',
      answer: topUsers,
      dimension: 'user',
      named: (key: string, mask: Mask) => ({ user: mask.user(key) }),
    },
    {
      path: '/top/destinations',
      operationId: 'listTopDestinations',
      summary: 'The destinations with the most of something',
      answer: topDestinations,
      dimension: 'destination',
      named: (key: string) => ({ dest_host: key }),
    },
    {
      path: '/top/sources',
      operationId: 'listTopSources',
      summary: 'The source addresses with the most of something',
      answer: topSources,
      dimension: 'source',
      named: (key: string, mask: Mask) => ({ source_ip: mask.address(key) }),
    },
    {
      path: '/top/ports',
      operationId: 'listTopPorts',
      summary: 'The destination ports with the most of something',
      answer: topPorts,
      dimension: 'port',
      named: (key: string) => ({ dest_port: Number(key) }),
    },
    {
      path: '/top/acl-rules',
      operationId: 'listTopAclRules',
      summary: 'The ACL rules that decided most',
      answer: topAclRules,
      dimension: 'acl_rule',
      named: (key: string) => ({ acl_rule_matched: key === '' ? null : key }),
    },
    {
      path: '/top/close-reasons',
      operationId: 'listTopCloseReasons',
      summary: 'Why sessions ended',
      answer: topCloseReasons,
      dimension: 'close_reason',
      named: (key: string) => ({ close_reason: closeReason.parse(key) }),
    },
  ] as const;
  for (const { dimension, named, answer, ...list } of lists) {
    serve(app, deps, {
      ...common,
      ...list,
      answer,
      other: ({ query }, context) =>
        maybeExportTop(deps, list.path.slice(1), dimension, query, context),
      ask: async ({ query }, context) => {
        const filters = await visibleFilters(deps.store, query, context);
        const shownAs = shownTogether(dimension, context.mask);
        const found = await topAnswer(
          deps,
          dimension,
          query,
          filters,
          shownAs,
          context,
          context.nowMs,
        );
        const shown = found.items.map(({ key, ...sums }) => ({
          ...named(key, context.mask),
          ...sums,
        }));
        const items = isHidden(dimension, context.mask)
          ? tiesAsShown(
              shown,
              (one, other) => one[query.by] === other[query.by],
              (item) => JSON.stringify(item),
            )
          : shown;
        return { ...found, items } as never;
      },
    });
  }
}

function serveAnalytics(app: FastifyInstance, deps: RoutesDeps): void {
  const common = { tag: 'analytics', weight: 'heavy', closed: closedRange } as const;
  serve(app, deps, {
    ...common,
    path: '/stats',
    operationId: 'getStats',
    summary: 'Counts of a range, today by default, beside those of the period before',
    params: noParams,
    query: statsQuery,
    answer: stats,
    ask: async ({ query }, context) => {
      const filters = restrictedTo(context.onlyUser, {});
      const found = await answerStats(deps, query, filters, context, context.nowMs);
      return { ...found, top_users: visibleUsers(found.top_users, context.mask, sameBytes) };
    },
  });
  serve(app, deps, {
    ...common,
    path: '/traffic',
    operationId: 'getTraffic',
    summary: 'Time series of bytes, sessions, open sessions and rejections, gaps filled',
    params: noParams,
    query: trafficQuery,
    answer: traffic,
    other: ({ query }, context) => maybeExportTraffic(deps, query, context),
    ask: async ({ query }, context) => {
      const { mask } = context;
      const filters = await visibleFilters(deps.store, query, context);
      const found = await answerTraffic(deps, query, filters, context, context.nowMs);
      if (query.split !== 'user') return found;
      const series = found.series.map((line) => ({
        ...line,
        key: line.key === null ? null : mask.user(line.key),
      }));
      return { ...found, series };
    },
  });
  serve(app, deps, {
    ...common,
    path: '/flows',
    operationId: 'listFlows',
    summary: 'Who reached what on which port, for a Sankey diagram',
    params: noParams,
    query: flowsQuery,
    answer: flows,
    ask: async ({ query }, context) => {
      const filters = await visibleFilters(deps.store, query, context);
      const found = await answerFlows(deps, query, filters, context, context.nowMs);
      const isTie = (one: (typeof found.items)[number], other: typeof one) =>
        one[query.by] === other[query.by];
      return { ...found, items: visibleUsers(found.items, context.mask, isTie) };
    },
  });
  serve(app, deps, {
    ...common,
    path: '/users/:user',
    operationId: 'getUser',
    summary: 'A user: first and last seen, totals, trend, destinations, busiest hours',
    params: userParams,
    query: profileQuery,
    answer: userProfile,
    ask: async ({ params, query }, context) => {
      const user = await visibleUser(deps.store, params.user, context);
      const { onlyUser, nowMs } = context;
      const found = await answerUserProfile(deps, user, onlyUser, query, context, nowMs);
      return { ...found, user: params.user };
    },
  });
  serve(app, deps, {
    ...common,
    path: '/destinations/:dest_host',
    operationId: 'getDestination',
    summary: 'A destination: first and last seen, totals, trend, users, busiest hours',
    params: destinationParams,
    query: profileQuery,
    answer: destinationProfile,
    ask: async ({ params, query }, context) => {
      const { onlyUser, nowMs } = context;
      const host = params.dest_host;
      const found = await answerDestinationProfile(deps, host, onlyUser, query, context, nowMs);
      return { ...found, users: visibleUsers(found.users, context.mask, sameBytes) };
    },
  });
}

/** What dashboards made for mihomo ask for. */
function serveClash(app: FastifyInstance, deps: RoutesDeps): void {
  serve(app, deps, {
    path: '/connections',
    operationId: 'listConnections',
    summary: 'Open sessions in the form of mihomo, for dashboards made for it; also by WebSocket',
    tag: 'live',
    weight: 'light',
    params: noParams,
    query: clashQuery,
    answer: clashConnections,
    ask: (_asked, context) => clashConnectionsOf(deps, context, context),
  });
  serve(app, deps, {
    path: '/version',
    operationId: 'getVersion',
    summary: 'What such dashboards ask first',
    tag: 'live',
    weight: 'light',
    params: noParams,
    query: noQuery,
    answer: clashVersion,
    ask: async () => ({ meta: true, version: `sockscope ${deps.version}` }),
  });
  serve(app, deps, {
    path: '/configs',
    operationId: 'getConfigs',
    summary: 'What such dashboards take as a sign that they may connect; nothing can be set',
    tag: 'live',
    weight: 'light',
    params: noParams,
    query: noQuery,
    answer: clashConfigs,
    ask: async () => ({
      port: 0,
      'socks-port': 0,
      'redir-port': 0,
      'tproxy-port': 0,
      'mixed-port': 0,
      'allow-lan': false,
      mode: 'rule' as const,
      'log-level': 'silent' as const,
      ipv6: true,
    }),
  });
}
