import { toTimestamp } from '@sockscope/schemas';
import { signalParams, SIGNAL_DAYS_MAX, signals, signalsQuery } from '@sockscope/schemas/api';
import type { SignalKind } from '@sockscope/schemas/api';
import { DAY_MS } from '@sockscope/schemas/sums';
import type { FastifyInstance } from 'fastify';
import { LRUCache } from 'lru-cache';
import type { CoverageReader } from '../../coverage/coverage.js';
import { filterOf, restrictedTo } from '../../filters/filters.js';
import { exactHost } from '../../filters/hosts.js';
import { isClosed } from '../../http/caching.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import type { Presenter } from '../../mask/presenter.js';
import { ProblemError } from '../../problems/problem.js';
import { signalsQuery as findQuery } from '../../sql/signals.js';
import type { SignalRow } from '../../sql/signals.js';
import { plainOf } from '../../sql/stored.js';
import type { Store } from '../../store/store.js';
import { rangeOfDays, shownRange } from '../../time/range.js';
import type { SignalsConfig } from './config.js';

export interface SignalsDeps {
  readonly store: Store;
  readonly coverage: CoverageReader;
  readonly signals: SignalsConfig;
}

/** Answers over closed ranges that are kept in memory, each of at most 500 findings; see docs/adr/0041. */
const CLOSED_REMEMBERED_MAX = 200;
/** Late events may change closed days. */
const CLOSED_REUSE_MS = 3_600_000;

/** The settings that decide a kind, by the beginning of their names. */
const SETTINGS_OF: Readonly<Record<SignalKind, string>> = {
  shared_account: 'shared_',
  scan: 'scan_',
  mail: 'mail_',
  beacon: 'beacon_',
  first_seen: 'first_seen_',
};

/** `GET /signals/{kind}`: suspicious patterns. */
export function serveSignals(app: FastifyInstance, deps: QuestionDeps & SignalsDeps): void {
  const { store, coverage } = deps;
  const closed = new LRUCache<
    string,
    { readonly rows: readonly SignalRow[]; readonly atMs: number }
  >({ max: CLOSED_REMEMBERED_MAX });
  serve(app, deps, {
    path: '/signals/:kind',
    operationId: 'listSignals',
    summary:
      'Suspicious activity: shared accounts, scans, mail, beacons, uploads to new destinations',
    tag: 'analytics',
    scope: 'read',
    audience: 'untied',
    weight: 'heavy',
    params: signalParams,
    query: signalsQuery,
    answer: signals,
    async ask({ params: { kind }, query }, context) {
      const { nowMs, onlyUsers } = context;
      const range = rangeOfDays(query, 1, nowMs);
      const longestRangeMs = SIGNAL_DAYS_MAX * DAY_MS;
      if (range.toMs - range.fromMs > longestRangeMs) {
        const detail = `signals are looked for in at most ${SIGNAL_DAYS_MAX} days: narrow the range`;
        throw new ProblemError('too-expensive', detail, { longestRangeMs });
      }
      // Not since the first sums: they may be older than every session.
      const { sessionsFromMs: knownSinceMs } = await coverage.read();
      const criteria = {
        range,
        filter: filterOf(restrictedTo(onlyUsers, {})),
        thresholds: deps.signals,
        limit: query.limit + 1,
      };
      const isKnown =
        kind !== 'first_seen' ||
        (knownSinceMs !== null &&
          range.fromMs - knownSinceMs >= deps.signals.first_seen_days * DAY_MS);
      const key = JSON.stringify([kind, range, onlyUsers, query.limit]);
      const known = closed.get(key);
      if (known !== undefined && nowMs - known.atMs < CLOSED_REUSE_MS) {
        return { range, rows: known.rows, knownSinceMs };
      }
      const rows = isKnown ? await store.ask(findQuery(kind, criteria), context) : [];
      if (isClosed(range.toMs, nowMs)) closed.set(key, { rows, atMs: nowMs });
      return { range, rows, knownSinceMs };
    },
    closed: (_input, { range }, nowMs) => isClosed(range.toMs, nowMs),
    present: ({ range, rows, knownSinceMs }, presenter, { params: { kind }, query }) => ({
      kind,
      range: shownRange(range),
      thresholds: Object.fromEntries(
        Object.entries(deps.signals).filter(([name]) => name.startsWith(SETTINGS_OF[kind])),
      ),
      known_since: knownSinceMs === null ? null : toTimestamp(knownSinceMs),
      items: rows.slice(0, query.limit).map((row) => shownFinding(kind, row, presenter)),
      truncated: rows.length > query.limit,
    }),
  });
}

function shownFinding(kind: SignalKind, row: SignalRow, presenter: Presenter) {
  const user = presenter.user(row.user);
  const hasSource = plainOf(row.source) !== '';
  const source = hasSource ? String(presenter.key('source_ip', row.source)) : null;
  const [from, to] = [toTimestamp(row.from_ms), toTimestamp(row.to_ms)];
  const where = new URLSearchParams({ user });
  if (kind === 'shared_account') where.set('at', from);
  else {
    where.set('from', from);
    where.set('to', to);
  }
  if (source !== null && !source.startsWith('ip_')) where.set('source_ip', source);
  if (row.dest_host !== null) where.set('dest_host', exactHost(row.dest_host));
  if (row.dest_port !== null) where.set('dest_port', String(row.dest_port));
  if (kind === 'mail') for (const port of ['25', '465', '587']) where.append('dest_port', port);
  return {
    user,
    source_ip: source,
    dest_host: row.dest_host,
    dest_port: row.dest_port,
    from,
    to,
    figures: Object.fromEntries(row.figures),
    sessions_url: `/api/v1/sessions?${where.toString()}`,
  };
}
