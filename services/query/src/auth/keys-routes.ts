import { keyBody, keyCreated, keyParams, keys, noParams, noQuery } from '@sockscope/schemas/api';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { FastifyInstance } from 'fastify';
import { actorOf } from '../audit/log.js';
import type { AuditLog } from '../audit/log.js';
import type { Context } from '../http/context.js';
import { serve } from '../http/question.js';
import type { QuestionDeps } from '../http/question.js';
import { serveWrite } from '../http/write.js';
import { invalidParameters, ProblemError } from '../problems/problem.js';
import { apiKeysQuery, keyUsesQuery } from '../sql/api-keys.js';
import type { Store } from '../store/store.js';
import { endKey, findKey, insertKey, keyState } from './key-table.js';
import type { KeyUses } from './key-uses.js';
import type { Principal } from './principal.js';

export interface KeysDeps {
  readonly clickhouse: ClickHouse;
  readonly store: Store;
  readonly audit: AuditLog;
  readonly uses: KeyUses;
  /** Whether keys are taken at all (QUERY_AUTH). */
  readonly takesKeys: boolean;
}

/** `GET /keys`, `POST /keys` and `DELETE /keys/{key_id}`, for administrators. */
export function serveKeys(app: FastifyInstance, deps: QuestionDeps & KeysDeps): void {
  const { clickhouse, store, audit } = deps;

  function requireKeys({ principal }: Context): void {
    // With authentication off, anybody on this machine could make a key that outlives the setting.
    if (principal.kind !== 'local' && deps.takesKeys) return;
    throw new ProblemError('forbidden', 'keys are managed with QUERY_AUTH=api_keys alone');
  }

  serve(app, deps, {
    path: '/keys',
    operationId: 'listKeys',
    summary: 'API keys without their secrets; needs the scope admin',
    tag: 'accounts',
    scope: 'admin',
    audience: 'untied',
    weight: 'light',
    params: noParams,
    query: noQuery,
    answer: keys,
    async ask(_input, context) {
      requireKeys(context);
      await deps.uses.flush();
      const [rows, uses] = await Promise.all([
        store.ask(apiKeysQuery(), context),
        store.ask(keyUsesQuery(), context),
      ]);
      const usedAt = new Map(uses.map((row) => [row.key_id, row.used_at]));
      return { rows, usedAt, nowMs: context.nowMs };
    },
    present: ({ rows, usedAt, nowMs }) => ({
      items: rows.map((row) => {
        const { key_hash: _hash, users, rate_per_minute, ...shown } = row;
        return {
          ...shown,
          users: users.length === 0 ? null : users,
          rate_per_minute: rate_per_minute === 0 ? null : rate_per_minute,
          last_used_at: usedAt.get(row.key_id) ?? null,
          state: keyState(row, nowMs),
        };
      }),
    }),
  });
  serveWrite(app, deps, {
    method: 'POST',
    path: '/keys',
    operationId: 'createKey',
    summary: 'Creates a key with at most the rights of its creator. Needs the scope admin',
    tag: 'accounts',
    params: noParams,
    body: keyBody,
    answer: keyCreated,
    scope: 'admin',
    audience: 'untied',
    async change({ body }, context) {
      requireKeys(context);
      const { principal, nowMs } = context;
      const wanted = {
        name: body.name,
        scopes: body.scopes,
        users: body.users,
        expiresAtMs: body.expires_at === null ? null : Date.parse(body.expires_at),
        ratePerMinute: body.rate_per_minute,
        createdBy: principal.id,
      };
      requireNarrower(wanted, principal, nowMs);
      const { key, keyId } = await audit.around(
        { ...actorOf(context), action: 'keys/create', format: '', details: body },
        () => insertKey(clickhouse, wanted, nowMs),
      );
      return { key, key_id: keyId };
    },
  });
  serveWrite(app, deps, {
    method: 'DELETE',
    path: '/keys/:key_id',
    operationId: 'revokeKey',
    summary: 'Revokes a key and ends its sign-ins within ten seconds; needs the scope admin',
    tag: 'accounts',
    params: keyParams,
    scope: 'admin',
    audience: 'untied',
    async change({ params }, context) {
      requireKeys(context);
      const known = await findKey(clickhouse, params.key_id);
      if (known === null) {
        throw new ProblemError('not-found', 'there is no such key');
      }
      const details = { key_id: known.key_id, name: known.name };
      await audit.around({ ...actorOf(context), action: 'keys/revoke', format: '', details }, () =>
        endKey(clickhouse, known, context.nowMs),
      );
    },
  });
}

/** @throws ProblemError if a key would have more rights than its creator, or live longer. */
function requireNarrower(
  wanted: {
    readonly expiresAtMs: number | null;
    readonly ratePerMinute: number | null;
  },
  principal: Principal,
  nowMs: number,
): void {
  const { expiresAtMs, ratePerMinute } = principal;
  const errors = [];
  if (wanted.expiresAtMs !== null && wanted.expiresAtMs <= nowMs) {
    errors.push({ parameter: 'expires_at', message: 'must be in the future' });
  }
  if (expiresAtMs !== null && (wanted.expiresAtMs ?? Infinity) > expiresAtMs) {
    errors.push({ parameter: 'expires_at', message: 'must not be later than your own end' });
  }
  if (ratePerMinute !== null && (wanted.ratePerMinute ?? Infinity) > ratePerMinute) {
    errors.push({ parameter: 'rate_per_minute', message: 'must not be above your own limit' });
  }
  if (errors.length > 0) throw invalidParameters(errors);
}
