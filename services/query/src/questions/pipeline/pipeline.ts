import { SESSION_EVENT_TYPES, toTimestamp } from '@sockscope/schemas';
import {
  noParams,
  noQuery,
  pipeline,
  PIPELINE_DEAD_LETTER_HOURS,
  PIPELINE_PROXY_MINUTES,
  PIPELINE_SILENT_MS,
  PIPELINE_WINDOW_SECONDS,
} from '@sockscope/schemas/api';
import type { Pipeline } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import type { CoverageReader } from '../../coverage/coverage.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import { anyOpenQuery } from '../../sql/active.js';
import { deadLettersQuery, partitionsQuery, storedLatelyQuery } from '../../sql/pipeline.js';
import type { Store } from '../../store/store.js';

/** `GET /pipeline`: health from the proxies to the sums. It shows nothing about sessions. */
export function servePipeline(
  app: FastifyInstance,
  deps: QuestionDeps & { readonly store: Store; readonly coverage: CoverageReader },
): void {
  const { store, coverage } = deps;
  serve(app, deps, {
    path: '/pipeline',
    operationId: 'getPipeline',
    summary: 'Health from the proxies to the sums: rates, delays, lag, waiting partitions',
    tag: 'live',
    scope: 'read',
    // Rates of the whole pipeline would reveal the traffic of others.
    audience: 'untied',
    weight: 'light',
    params: noParams,
    query: noQuery,
    answer: pipeline,
    async ask(_input, context) {
      const [stored, partitions, letters, { dirty }] = await Promise.all([
        store.ask(storedLatelyQuery(PIPELINE_WINDOW_SECONDS, PIPELINE_PROXY_MINUTES), context),
        store.ask(partitionsQuery(), context),
        store.ask(deadLettersQuery(PIPELINE_DEAD_LETTER_HOURS), context),
        coverage.read(),
      ]);
      // The error of a record may quote it, and so name somebody.
      const { mask } = context;
      const isMasked = mask.users !== 'none' || mask.addresses !== 'none';
      const showsDetails = !isMasked;
      const total = stored.find((row) => row.is_total === 1);
      const now = total?.now ?? toTimestamp(context.nowMs);
      const lately = stored.filter((row) => row.is_total === 0);
      // If nothing was stored lately: each insert stores the position of its partitions, too.
      const storedAt =
        lately.length > 0
          ? lately.map((row) => row.last_stored_at)
          : partitions.map((row) => row.observed_at);
      const lastStoredAt = storedAt.toSorted().at(-1) ?? null;
      const isSilent =
        lastStoredAt !== null && Date.parse(now) - Date.parse(lastStoredAt) > PIPELINE_SILENT_MS;
      // Silence is normal if nothing is open.
      const open = isSilent ? await store.ask(anyOpenQuery(), context) : [];
      return {
        total,
        now,
        lately,
        lastStoredAt,
        silentSince: open.length > 0 ? lastStoredAt : null,
        partitions,
        letters,
        showsDetails,
        dirty,
      };
    },
    present({ total, now, lately, partitions, letters, dirty, ...found }) {
      const perSecond = (count: number) => count / PIPELINE_WINDOW_SECONDS;
      const [p50, p99] = total?.delays ?? [];
      const oldest = dirty.length === 0 ? null : Math.min(...dirty.map(({ bucketMs }) => bucketMs));
      return {
        as_of: now,
        window_seconds: PIPELINE_WINDOW_SECONDS,
        events: {
          per_second: Object.fromEntries(
            SESSION_EVENT_TYPES.map((type, i) => [type, perSecond(total?.counts[i] ?? 0)]),
          ) as Pipeline['events']['per_second'],
          delay_ms: p50 === undefined || p99 === undefined ? null : { p50, p99 },
          last_stored_at: found.lastStoredAt,
          silent_since: found.silentSince,
        },
        proxies: lately.map(({ proxy_id, last_event_at, last_stored_at, counts }) => ({
          proxy_id,
          last_event_at,
          last_stored_at,
          events_per_second: perSecond(counts.reduce((sum, count) => sum + count, 0)),
        })),
        partitions: partitions.map((row) => ({
          topic: row.topic,
          partition: row.partition,
          next_offset: row.next_offset,
          caught_up: row.caught_up,
          watermark: row.watermark,
          lag_ms: row.caught_up ? 0 : Math.max(0, Date.parse(now) - Date.parse(row.watermark)),
          observed_at: row.observed_at,
          waits: row.is_waiting
            ? { kind: row.kind, reason: row.reason, offset: row.offset, since: row.since }
            : null,
        })),
        dead_letters: letters.map(({ reason, letters: count, last_at, detail, ...sample }) => ({
          reason,
          letters: count,
          last_at,
          sample: { ...sample, detail: found.showsDetails ? detail : null },
        })),
        sums: {
          changed: dirty.length,
          oldest_changed: oldest === null ? null : toTimestamp(oldest),
        },
      };
    },
  });
}
