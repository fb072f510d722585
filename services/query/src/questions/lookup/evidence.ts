import { evidence, evidenceKeys, evidenceQuery, noParams, noQuery } from '@sockscope/schemas/api';
import { sessionStartMs, toTimestamp } from '@sockscope/schemas';
import type { EvidenceQuery } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { actorOf, parametersOf } from '../../audit/log.js';
import type { AuditLog } from '../../audit/log.js';
import { htmlFileOf, jsonFileOf } from '../../evidence/verify-evidence.js';
import { requireScope } from '../../auth/principal.js';
import type { EvidenceSigner } from '../../evidence/signer.js';
import type { Context } from '../../http/context.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import { presenterOf } from '../../mask/presenter.js';
import { sessionEventsQuery } from '../../sql/sessions.js';
import { timelineOf } from '../sessions/events.js';
import { findByAddress } from './find.js';
import type { LookupDeps } from './find.js';
import { shownLookup } from './lookup.js';

export interface EvidenceDeps extends LookupDeps {
  readonly signer: EvidenceSigner;
  readonly audit: AuditLog;
  readonly version: string;
}

/** Events of one session; the report states if more were left out. */
const EVENTS_MAX = 1_000;
/** Events of all, the closest sessions first. Signing is one piece of work that holds up every other request. */
const EVENTS_OF_ALL_MAX = 10_000;
const FORMAT_VERSION = 1;

/** `GET /lookup/evidence`: a lookup with its events, signed; and the keys that its signature is held against. */
export function serveEvidence(app: FastifyInstance, deps: QuestionDeps & EvidenceDeps): void {
  serve(app, deps, {
    path: '/lookup/evidence',
    operationId: 'getEvidence',
    summary: 'A lookup with the events of its sessions, signed; needs the scope export',
    tag: 'sessions',
    scope: 'read',
    audience: 'untied',
    weight: 'light',
    params: noParams,
    query: evidenceQuery,
    answer: evidence,
    otherTypes: ['text/html'],
    async other({ query }, context) {
      requireScope(context, 'export');
      const text = await deps.gates.light.pass(context, () => fileOf(deps, query, context));
      const type = query.format === 'html' ? 'text/html' : 'application/json';
      const name = `sockscope-evidence.${query.format}`;
      void context.reply
        .header('cache-control', 'no-store')
        .header('content-disposition', `attachment; filename="${name}"`)
        .header('x-content-type-options', 'nosniff')
        .type(`${type}; charset=utf-8`)
        .send(text);
      return true;
    },
    ask: () => Promise.reject(new TypeError('evidence is sent as a file')),
    present: (): never => {
      throw new TypeError('evidence is sent as a file');
    },
  });
  serve(app, deps, {
    path: '/lookup/evidence/keys',
    operationId: 'listEvidenceKeys',
    summary: 'Public keys that sign evidence, and when each was used',
    tag: 'sessions',
    scope: 'read',
    audience: 'everyone',
    weight: 'light',
    params: noParams,
    query: noQuery,
    answer: evidenceKeys,
    ask: () => Promise.resolve(deps.signer.keys),
    present: (keys) => ({ keys: [...keys] }),
  });
}

async function fileOf(deps: EvidenceDeps, query: EvidenceQuery, context: Context): Promise<string> {
  const { format, ...question } = query;
  const found = await findByAddress(deps, question, context);
  const presenter = presenterOf(context.mask);
  const answer = shownLookup(found, presenter);
  const events: Record<string, unknown> = {};
  let left = EVENTS_OF_ALL_MAX;
  for (const { row } of found.candidates) {
    const limit = Math.min(EVENTS_MAX, left);
    // One after the other: a report need not be fast, and may hold many.
    const rows = await deps.store.ask(
      sessionEventsQuery({
        sessionId: row.session_id,
        startedMs: sessionStartMs(row.session_id),
        afterSeq: -1,
        limit: limit + 1,
      }),
      context,
    );
    events[row.session_id] = {
      items: timelineOf(rows.slice(0, limit), -1),
      truncated: rows.length > limit,
    };
    left -= Math.min(rows.length, limit);
  }
  const answered = parametersOf(context);
  const { principal, nowMs } = context;
  const writeEnd = await deps.audit.begin({
    ...actorOf(context),
    action: 'lookup/evidence',
    format,
    details: answered,
  });
  const signed = await deps.signer.sign({
    kind: 'sockscope.evidence',
    format_version: FORMAT_VERSION,
    product_version: deps.version,
    made_at: toTimestamp(nowMs),
    made_by: principal.id,
    question: answered,
    egress_ips: found.egressIps,
    answer,
    events,
  });
  const file = format === 'html' ? htmlFileOf(signed) : jsonFileOf(signed);
  await writeEnd({
    outcome: 'finished',
    rows: answer.items.length,
    bytes: Buffer.byteLength(file),
  });
  return file;
}
