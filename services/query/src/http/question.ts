import { problem } from '@sockscope/schemas/api';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { mayDo } from '../auth/principal.js';
import type { Scope } from '../auth/principal.js';
import type { Gate } from '../store/gate.js';
import { cacheAnswer } from './caching.js';
import type { Context } from './context.js';
import { ProblemError } from '../problems/problem.js';

/** Problems that any question may end with. */
export const PROBLEMS = {
  400: problem.describe('unknown or wrong parameters'),
  401: problem.describe('no valid key or token'),
  403: problem.describe('the key or token does not allow this'),
  404: problem.describe('there is no such thing'),
  406: problem.describe('not in that format'),
  422: problem.describe('the question would read too much'),
  429: problem.describe('too many requests; see Retry-After'),
  503: problem.describe('not now; see Retry-After'),
};

/** One GET route: what it takes, what it answers, and how. */
export interface Question<
  Params extends z.ZodType,
  Query extends z.ZodType,
  Answer extends z.ZodType,
> {
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly tag: 'sessions' | 'analytics' | 'live';
  readonly params: Params;
  readonly query: Query;
  readonly answer: Answer;
  /** `heavy` ones wait in a shorter line. */
  readonly weight: 'light' | 'heavy';
  /** What the principal needs; `read` where nothing is said. */
  readonly scope?: Scope;
  /** Whether an answer has stopped changing, so that it may be kept for a while. */
  closed?(asked: Asked<Params, Query>, answer: z.output<Answer>, nowMs: number): boolean;
  ask(asked: Asked<Params, Query>, context: Context): Promise<z.output<Answer>>;
  /** Takes the request over, for another format than JSON. Returns false where it does not. */
  other?(asked: Asked<Params, Query>, context: Context): Promise<boolean>;
}

export interface Asked<Params extends z.ZodType, Query extends z.ZodType> {
  readonly params: z.output<Params>;
  readonly query: z.output<Query>;
}

export interface QuestionDeps {
  contextOf(request: FastifyRequest, reply: FastifyReply): Context;
  readonly gates: Readonly<Record<'light' | 'heavy', Gate>>;
}

/** Serves a question: validated, allowed, in turn, measured, cached. */
export function serve<Params extends z.ZodType, Query extends z.ZodType, Answer extends z.ZodType>(
  app: FastifyInstance,
  deps: QuestionDeps,
  question: Question<Params, Query, Answer>,
): void {
  const { path, operationId, summary, tag, params, query, answer, weight } = question;
  const scope = question.scope ?? 'read';
  app.get(
    path,
    {
      schema: {
        operationId,
        summary,
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
      const found = await deps.gates[weight].pass(context.signal, () =>
        question.ask(asked, context),
      );
      const closed = question.closed?.(asked, found, context.nowMs) ?? false;
      const text = serialized(reply, found);
      if (cacheAnswer(request, reply, found as object, text, closed)) return reply.send();
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
