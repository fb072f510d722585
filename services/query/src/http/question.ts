import { EXPORT_TYPES, problem } from '@sockscope/schemas/api';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Audience, Scope } from '../auth/principal.js';
import { mayWantFile } from '../export/negotiate.js';
import { presenterOf } from '../mask/presenter.js';
import type { Presenter } from '../mask/presenter.js';
import type { Gate } from '../store/gate.js';
import { cacheAnswer } from './caching.js';
import { visitorOf } from './context.js';
import type { Context } from './context.js';

const JSON_TYPE = 'application/json';

export const problemOf = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: problem } },
});

/** Problems that any route may end with. */
export const PROBLEMS = {
  400: problemOf('unknown or wrong parameters'),
  401: problemOf('no valid key or token'),
  403: problemOf('the key or token does not allow this'),
  408: problemOf('the request did not arrive in time'),
  429: problemOf('too many requests; see Retry-After'),
  431: problemOf('the address and the headers are too long'),
  500: problemOf('internal error of the service'),
  503: problemOf('overloaded or stopping; see Retry-After'),
};

/** Marks a route in the document, unless it is for everyone. */
export const markOf = (audience: Audience) =>
  audience === 'everyone' ? {} : { 'x-audience': audience };

/** Problems that not every route has. */
const MORE_PROBLEMS = {
  404: problemOf('not found'),
  406: problemOf('that format is not available'),
  422: problemOf('the question would read too much'),
};

/** One GET route: its parameters, its answer and its handler. */
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
  readonly tag: 'sessions' | 'analytics' | 'live' | 'accounts' | 'annotations' | 'clash';
  readonly params: Params;
  readonly query: Query;
  readonly answer: Answer;
  /** `heavy` ones wait in a shorter line. */
  readonly weight: 'light' | 'heavy' | ((input: Input<Params, Query>) => 'light' | 'heavy');
  /** The rights that the principal needs. */
  readonly scope: Scope;
  readonly audience: Audience;
  /** Whether an answer has stopped changing, so that it may be kept for a while. */
  closed?(input: Input<Params, Query>, found: Found, nowMs: number): boolean;
  /** Finds the answer. Users and addresses in it are as they are stored. */
  ask(input: Input<Params, Query>, context: Context): Promise<Found>;
  /** Shows the answer to the caller. Only a presenter makes text of stored values. */
  present(found: Found, presenter: Presenter, input: Input<Params, Query>): z.output<Answer>;
  /** Takes the request over, for another format than JSON. Returns false if it does not. */
  other?(input: Input<Params, Query>, context: Context): Promise<boolean>;
  /** The media types of `other`; by default, the formats of exports. */
  readonly otherTypes?: readonly string[];
}

export interface Input<Params extends z.ZodType, Query extends z.ZodType> {
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
  const { path, operationId, summary, tag, params, query, weight, scope, audience } = question;
  app.get(
    path,
    {
      config: { scope, audience },
      // Before anything of the request is looked at, because that costs more than all before.
      preValidation: async (request) => {
        // A file has places of its own.
        if (question.other !== undefined && mayWantFile(request.url, request.headers.accept))
          return;
        deps.gates[typeof weight === 'function' ? 'light' : weight].check(visitorOf(request));
      },
      schema: {
        operationId,
        summary,
        ...(question.description === undefined ? {} : { description: question.description }),
        tags: [tag],
        ...markOf(audience),
        params,
        querystring: query,
        response: responsesOf(question),
      },
    },
    async (request, reply) => {
      const context = deps.contextOf(request, reply);
      // The type provider has validated both by these very schemas.
      const input = { params: request.params, query: request.query } as Input<Params, Query>;
      if ((await question.other?.(input, context)) === true) return reply;
      const gate = deps.gates[typeof weight === 'function' ? weight(input) : weight];
      const found = await gate.pass(context, () => question.ask(input, context));
      const shown = question.present(found, presenterOf(context.mask), input);
      const closed = question.closed?.(input, found, context.nowMs) ?? false;
      const text = serialized(reply, shown);
      if (cacheAnswer(request, reply, { answer: shown as object, text, closed }))
        return reply.send();
      return reply.type('application/json; charset=utf-8').send(text);
    },
  );
}

function responsesOf(question: {
  readonly path: string;
  readonly tag: string;
  readonly answer: z.ZodType;
  readonly audience: Audience;
  readonly other?: unknown;
  readonly otherTypes?: readonly string[];
}) {
  const files =
    question.other === undefined ? [] : (question.otherTypes ?? Object.values(EXPORT_TYPES));
  return {
    200: {
      description: 'the answer',
      content: {
        [JSON_TYPE]: { schema: question.answer },
        ...Object.fromEntries(files.map((type) => [type, { schema: z.string() }])),
      },
    },
    ...PROBLEMS,
    ...(question.path.includes(':') || question.audience === 'untied'
      ? { 404: MORE_PROBLEMS[404] }
      : {}),
    ...(question.other === undefined ? {} : { 406: MORE_PROBLEMS[406] }),
    ...(question.tag === 'clash' ? {} : { 422: MORE_PROBLEMS[422] }),
  };
}

/** Uses the serializer of the app, which validates in tests. */
function serialized(reply: FastifyReply, answer: unknown): string {
  const serialize = reply.getSerializationFunction('200', JSON_TYPE);
  const text: unknown = serialize?.(answer as Record<string, unknown>);
  if (typeof text !== 'string') throw new TypeError('an answer is text');
  return text;
}
