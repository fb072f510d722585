import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import { createLogLimiter } from '@sockscope/runtime';
import type { Logger } from '@sockscope/runtime';
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify';
import {
  invalidParameters,
  noSuchRoute,
  ProblemError,
  problemOfStore,
} from '../problems/problem.js';
import { problemDocument, statusOf } from './problem-document.js';
import type { ParameterError } from '../problems/problem.js';

/** A client's text in a message stays short and on one line. */
function quoted(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}

/** The property that the zod type provider adds to each validation error. */
interface ZodValidation {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message?: string;
  readonly params?: { readonly keys?: readonly string[] };
}

function parameterErrors(validation: readonly ZodValidation[]): ParameterError[] {
  return validation.flatMap((entry) => {
    if (entry.keyword === 'unrecognized_keys') {
      return (entry.params?.keys ?? []).map((key) => ({
        parameter: key.slice(0, 100),
        message: `unknown parameter ${quoted(key)}`,
      }));
    }
    const [, parameter = ''] = entry.instancePath.split('/');
    return [{ parameter, message: entry.message ?? 'is wrong' }];
  });
}

/** Any error as the problem that the client sees. */
export function problemOf(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  if (error instanceof ClickHouseError) return problemOfStore(error);
  const known = error as Partial<FastifyError>;
  if (known.validation !== undefined) {
    return invalidParameters(parameterErrors(known.validation));
  }
  // Refusals by fastify itself: a bad URL, an unexpected body, a wrong content type.
  if (known.statusCode === 429) {
    return new ProblemError('too-many-requests', 'slow down', { cause: error });
  }
  if (known.statusCode === 413) {
    return new ProblemError('body-too-large', 'send a smaller body', { cause: error });
  }
  if (known.statusCode !== undefined && known.statusCode >= 400 && known.statusCode < 500) {
    return new ProblemError('invalid-parameters', 'the request is malformed', { cause: error });
  }
  return new ProblemError('internal-error', 'see the log of the service', { cause: error });
}

export async function sendProblem(
  request: { readonly id: string },
  reply: FastifyReply,
  problem: ProblemError,
): Promise<void> {
  if (problem.retryAfterSeconds !== null) reply.header('retry-after', problem.retryAfterSeconds);
  await reply
    .code(statusOf(problem.code))
    .header('cache-control', 'no-store')
    .header('x-request-id', request.id)
    .type('application/problem+json; charset=utf-8')
    .serializer(JSON.stringify)
    .send(problemDocument(problem, request.id));
}

/** Interval of lines of one kind and route. In a flood, lines would take more of the thread than answers. */
const LOG_INTERVAL_MS = 1_000;

/** Every failure becomes a problem document; our own faults are also logged, at a bounded rate. */
export function handleErrors(app: FastifyInstance, logger: Logger): void {
  const limiters = new Map<string, ReturnType<typeof createLogLimiter>>();
  app.setErrorHandler(async (error, request, reply) => {
    const problem = problemOf(error);
    if (statusOf(problem.code) >= 500) {
      const route = request.routeOptions.url;
      const kind = `${problem.code} ${route ?? ''}`;
      const limiter = limiters.get(kind) ?? createLogLimiter(LOG_INTERVAL_MS);
      limiters.set(kind, limiter);
      const heldBack = limiter.pass();
      if (heldBack !== null) {
        logger.error(
          { err: problem.cause ?? problem, request_id: request.id, route, held_back: heldBack },
          problem.code,
        );
      }
    }
    await sendProblem(request, reply, problem);
  });
  const methodsOf = watchMethods(app);
  // Before a body is looked at: the method is wrong, not the body.
  app.addHook('onRequest', async (request, reply) => {
    if (!request.is404) return;
    const methods = methodsOf(request.url.split('?')[0] ?? '');
    if (methods.length === 0 || methods.includes(request.method)) return;
    const allowed = methods.join(', ');
    reply.header('allow', allowed);
    throw new ProblemError('method-not-allowed', `this path takes ${allowed}`);
  });
  app.setNotFoundHandler((request, reply) => sendProblem(request, reply, noSuchRoute()));
}

/** Returns the methods that a path is served with, of all routes that are added from now on. */
function watchMethods(app: FastifyInstance): (path: string) => string[] {
  const routes = new Map<string, { readonly pattern: RegExp; readonly methods: Set<string> }>();
  app.addHook('onRoute', ({ url, method, constraints }) => {
    // A path that is served to WebSockets only is none for others.
    if (constraints !== undefined && Object.keys(constraints).length > 0) return;
    // The answer to a preflight is no route of its own.
    if (url === '*') return;
    const source = url
      .replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`)
      .replaceAll('*', '.*')
      .replaceAll(/:\w+/g, '[^/]+');
    const route = routes.get(url) ?? { pattern: new RegExp(`^${source}$`), methods: new Set() };
    for (const each of [method].flat()) route.methods.add(each);
    routes.set(url, route);
  });
  return (path) => {
    const fitting = [...routes.values()].filter(({ pattern }) => pattern.test(path));
    return [...new Set(fitting.flatMap(({ methods }) => [...methods]))].toSorted();
  };
}

function brokenBy(code: string | undefined): ProblemError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ProblemError('headers-too-large', 'the address and the headers are too long');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ProblemError('request-timeout', 'send the whole request faster');
    default:
      return new ProblemError('invalid-parameters', 'the request is malformed');
  }
}

/**
 * A refusal of the HTTP parser has no request: the answer is written to the socket itself.
 *
 * @param headers lines to add.
 */
export function answerBrokenRequest(
  error: { readonly code?: string | undefined },
  socket: Socket,
  headers: readonly string[] = [],
): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const problem = brokenBy(error.code);
  const id = randomUUID();
  const body = JSON.stringify(problemDocument(problem, id));
  const status = statusOf(problem.code);
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      'Content-Type: application/problem+json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`,
      `X-Request-Id: ${id}`,
      ...headers,
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}
