import { problem } from '@sockscope/schemas/api';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { mayDo } from '../auth/principal.js';
import type { Scope } from '../auth/principal.js';
import { presenterOf } from '../mask/presenter.js';
import type { Presenter } from '../mask/presenter.js';
import { ProblemError } from '../problems/problem.js';
import type { Gate } from '../store/gate.js';
import { cacheAnswer } from './caching.js';
import type { Context } from './context.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the principal of a request needs. */
    readonly scope?: Scope;
  }
}

/** Problems that any question may end with. */
export const PROBLEMS = {
  400: problem.describe('unknown or wrong parameters'),
  401: problem.describe('no valid key or token'),
  403: problem.describe('the key or token does not allow this'),
  404: problem.describe('there is no such thing'),
  406: problem.describe('not in that format'),
  422: problem.describe('the question would read too much'),
  429: problem.describe('too many requests; see Retry-After'),
  500: problem.describe('the service made a mistake'),
  503: problem.describe('not now; see Retry-After'),
};

/** One GET route: what it takes, what it answers, and how. */
export interface Question<
  Params extends z.ZodType,
  Query extends z.ZodType,
  Answer extends z.ZodType,
  Found,
> {
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tag: 'sessions' | 'analytics' | 'live' | 'clash';
  readonly params: Params;
  readonly query: Query;
  readonly answer: Answer;
  /** `heavy` ones wait in a shorter line. */
  readonly weight: 'light' | 'heavy' | ((asked: Asked<Params, Query>) => 'light' | 'heavy');
  /** What the principal needs. */
  readonly scope: Scope;
  /** Whether an answer has stopped changing, so that it may be kept for a while. */
  closed?(asked: Asked<Params, Query>, found: Found, nowMs: number): boolean;
  /** Finds the answer. Users and addresses in it are as they are stored. */
  ask(asked: Asked<Params, Query>, context: Context): Promise<Found>;
  /** Shows the answer to who asked. Only a presenter makes text of what is stored. */
  present(found: Found, presenter: Presenter, asked: Asked<Params, Query>): z.output<Answer>;
  /** Takes the request over, for another format than JSON. Returns false where it does not. */
  other?(asked: Asked<Params, Query>, context: Context): Promise<boolean>;
  /** Formats beside JSON, by media type. */
  readonly otherTypes?: readonly string[];
}

export interface Asked<Params extends z.ZodType, Query extends z.ZodType> {
  readonly params: z.output<Params>;
  readonly query: z.output<Query>;
}

export interface QuestionDeps {
  contextOf(request: FastifyRequest, reply: FastifyReply): Context;
  readonly gates: Readonly<Record<'light' | 'heavy', Gate>>;
}

/** Serves a question: validated, allowed, in turn, measured, masked, cached. */
export function serve<
  Params extends z.ZodType,
  Query extends z.ZodType,
  Answer extends z.ZodType,
  Found,
>(
  app: FastifyInstance,
  deps: QuestionDeps,
  question: Question<Params, Query, Answer, Found>,
): void {
  const { path, operationId, summary, tag, params, query, answer, weight, scope } = question;
  app.get(
    path,
    {
      config: { scope },
      schema: {
        operationId,
        summary,
        ...(question.description === undefined ? {} : { description: question.description }),
        tags: [tag],
        params,
        querystring: query,
        response: { 200: answer, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const context = deps.contextOf(request, reply);
      requireScope(context, scope);
      // The type provider has validated both by these very schemas.
      const asked = { params: request.params, query: request.query } as Asked<Params, Query>;
      if ((await question.other?.(asked, context)) === true) return reply;
      const gate = deps.gates[typeof weight === 'function' ? weight(asked) : weight];
      const found = await gate.pass(context.signal, () => question.ask(asked, context));
      const shown = question.present(found, presenterOf(context.mask), asked);
      const closed = question.closed?.(asked, found, context.nowMs) ?? false;
      const text = serialized(reply, shown);
      if (cacheAnswer(request, reply, shown as object, text, closed)) return reply.send();
      return reply.type('application/json; charset=utf-8').send(text);
    },
  );
}

/** By the serializer of the app, which validates in tests. */
function serialized(reply: FastifyReply, answer: unknown): string {
  const text = reply.serialize(answer);
  if (typeof text !== 'string') throw new TypeError('an answer is text');
  return text;
}

/** @throws ProblemError forbidden */
export function requireScope(context: Context, scope: Scope): void {
  if (mayDo(context.principal, scope)) return;
  throw new ProblemError('forbidden', `this needs the scope ${scope}`);
}
