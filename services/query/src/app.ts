import { randomUUID } from 'node:crypto';
import type { Health, Logger, Registry } from '@sockscope/runtime';
import { fastify } from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { FastifySerializerCompiler } from 'fastify/types/schema.js';
import {
  serializerCompiler as validatingSerializer,
  validatorCompiler,
} from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { serveAnnotations } from './annotations/annotations.js';
import type { Authenticator } from './auth/authenticator.js';
import { createCookies } from './auth/cookie.js';
import { serveOidc } from './auth/oidc-routes.js';
import type { OidcClient } from './auth/oidc.js';
import { mayDo } from './auth/principal.js';
import type { KeyUses } from './auth/key-uses.js';
import { serveKeys } from './auth/keys-routes.js';
import { serveAccount } from './auth/routes.js';
import { serveSignIns } from './auth/sign-ins-routes.js';
import { serveAudit } from './audit/route.js';
import { createSignIns } from './auth/sign-ins.js';
import type { WebSessions } from './auth/web-sessions.js';
import { serveClashSockets } from './clash/socket.js';
import type { CoverageReader } from './coverage/coverage.js';
import type { EvidenceSigner } from './evidence/signer.js';
import type { ExportDeps } from './export/export.js';
import { visitorOf } from './http/context.js';
import type { Context } from './http/context.js';
import { answerBrokenRequest, handleErrors, problemOf, sendProblem } from './http/errors.js';
import { guard, isStillAllowed } from './http/guard.js';
import type { GuardConfig } from './http/guard.js';
import { measureRequests } from './http/metrics.js';
import { serveOpenApi } from './http/openapi.js';
import { takeEmptyBodies } from './http/json-body.js';
import { requireSameOrigin } from './http/same-origin.js';
import { serveOperations } from './http/operations.js';
import { allowOrigins } from './http/origins.js';
import { serveClash } from './clash/clash.js';
import { ProblemError } from './problems/problem.js';
import { serveQuestions } from './questions/questions.js';
import { answerUpgrades, CONSTRAINTS } from './http/upgrades.js';
import { endConnectionsInOrder } from './http/connections.js';
import { NO_MASK } from './mask/mask.js';
import type { Mask } from './mask/mask.js';
import type { LookupConfig } from './questions/lookup/config.js';
import { createEgressSince } from './questions/lookup/find.js';
import { createDensityMemory } from './questions/sessions/density.js';
import { createSessionLookups } from './questions/sessions/lookups.js';
import type { SignalsConfig } from './questions/signals/config.js';
import { serveSite } from './site/site.js';
import type { Gate } from './store/gate.js';
import { createShares } from './store/shares.js';
import type { Store } from './store/store.js';
import type { StreamConfig } from './stream/config.js';
import type { Hub } from './stream/hub.js';
import type { StreamMetrics } from './stream/metrics.js';
import { serveLiveView } from './stream/active-route.js';
import { serveStream } from './stream/route.js';
import { createViews } from './stream/views.js';

export interface AppConfig {
  readonly version: string;
  readonly request_timeout_ms: number;
  /** Addresses and blocks whose X-Forwarded-For is believed; empty: nobody's. */
  readonly trusted_proxies: readonly string[];
  readonly guard: GuardConfig;
  /** The public URL of the service; empty: not known. */
  readonly public_url: string;
  readonly stream: StreamConfig;
  /** The folder of the dashboard's files, or null for none. */
  readonly site: string | null;
  /** Validates every answer by its schema before it is sent: for tests. */
  readonly validate_answers: boolean;
}

/** Authentication of callers. */
interface AccessDeps {
  readonly authenticator: Authenticator;
  readonly webSessions: WebSessions;
  readonly uses: KeyUses;
  /** Null if nobody signs in at an OpenID provider. */
  readonly oidc: OidcClient | null;
  /** Unknown callers wait here. */
  readonly suspects: Gate;
  /** Whether keys are taken (QUERY_AUTH). */
  readonly takesKeys: boolean;
  /** Whether new questions should be sent away for now. */
  readonly isOverloaded: () => boolean;
  /** Longest possible wait for this thread of a request that it takes now, in milliseconds. */
  readonly lateMs: () => number;
}

/** The parts that answer questions. */
interface AnswerDeps {
  readonly store: Store;
  readonly coverage: CoverageReader;
  readonly gates: Readonly<Record<'light' | 'heavy' | 'resume', Gate>>;
  /** See WeighedDeps. */
  readonly lightRowsMax: number;
  readonly lookup: LookupConfig;
  readonly signals: SignalsConfig;
  readonly signer: EvidenceSigner;
}

export interface AppDeps {
  readonly access: AccessDeps;
  readonly answers: AnswerDeps;
  readonly exports: ExportDeps;
  readonly hub: Hub;
  readonly streamMetrics: StreamMetrics;
  /** Mask for callers without the scope `admin`. */
  readonly mask: Mask;
  readonly health: Health;
  readonly registry: Registry;
  readonly logger: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Longer ones are refused by the parser with 431. */
const HEADER_BYTES_MAX = 16_384;
const PATH_PARAMETER_CHARS_MAX = 1_100;
/** How often requests that arrive too slowly are looked for; Node's default is half a minute. */
const CHECK_INTERVAL_MS = 1_000;

/**
 * The whole HTTP interface without a port: tests inject requests, the server adds a listener.
 */
export async function createApp(
  config: AppConfig,
  { access: accessDeps, answers, ...rest }: AppDeps,
): Promise<FastifyInstance> {
  const deps = { ...accessDeps, ...answers, ...rest };
  const app = fastify({
    // Requests are counted and timed as metrics; a line per request would hold addresses and users.
    logger: false,
    // Requests that are refused before there is a route, such as a broken escape in the path.
    frameworkErrors: (error, request, reply) => {
      void sendProblem(request, reply, problemOf(error));
    },
    // Unique across restarts and processes; a client's own would be believed.
    genReqId: () => randomUUID(),
    clientErrorHandler: (error, socket) => {
      answerBrokenRequest(error, socket);
    },
    bodyLimit: 1_024,
    requestTimeout: config.request_timeout_ms,
    keepAliveTimeout: 65_000,
    connectionTimeout: 0,
    forceCloseConnections: 'idle',
    trustProxy: config.trusted_proxies.length > 0 && [...config.trusted_proxies],
    http: {
      maxHeaderSize: HEADER_BYTES_MAX,
      // Of its own for the headers, else they may take a minute.
      headersTimeout: config.request_timeout_ms,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      // A missing one is refused below: Node's own refusal has no document.
      requireHostHeader: false,
    },
    routerOptions: { maxParamLength: PATH_PARAMETER_CHARS_MAX, constraints: CONSTRAINTS },
  });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(config.validate_answers ? validatingSerializer : plainSerializer);
  endConnectionsInOrder(app);
  // An expectation that nobody knows is ignored, as RFC 9110 (10.1.1) allows.
  app.server.on('checkExpectation', (request, response) => {
    app.server.emit('request', request, response);
  });
  app.decorateRequest('arrivedMs', 0);
  app.addHook('onRequest', async (request, reply) => {
    request.arrivedMs = performance.now() - deps.lateMs();
    reply.header('x-request-id', request.id);
    if (request.headers.host === undefined && request.raw.httpVersion === '1.1') {
      throw new ProblemError('invalid-parameters', 'send a Host header: HTTP/1.1 demands one');
    }
  });
  answerUpgrades(app);
  app.addHook('preClose', () => deps.exports.running.stop());
  app.addHook('onClose', () => deps.uses.flush());
  handleErrors(app, deps.logger);
  measureRequests(app, deps.registry);
  await allowOrigins(app, config.guard.origins);
  await serveOpenApi(app, config.version);
  serveOperations(app, deps);
  await serveSite(app, { folder: config.site, logger: deps.logger });
  const cookies = createCookies(config.public_url);
  const access = { ...deps, cookie: cookies.session };
  const routed = {
    ...deps,
    contextOf: (request: FastifyRequest, reply: FastifyReply) => contextOf(request, reply, deps),
    isStillAllowed: (request: FastifyRequest) => isStillAllowed(access, request),
  };
  await app.register(async (guarded) => {
    takeEmptyBodies(guarded);
    requireSameOrigin(guarded, config.public_url);
    await guard(guarded, config.guard, access);
    await guarded.register(
      async (api) => {
        const signIns = createSignIns({ ...deps, audit: deps.exports.audit, cookies });
        serveAccount(api, { ...routed, cookies, signIns });
        if (deps.oidc !== null) serveOidc(api, { ...deps, oidc: deps.oidc, cookies, signIns });
        serveAudit(api, routed);
        serveAnnotations(api, { ...routed, ...deps.exports });
        serveKeys(api, { ...routed, ...deps.exports });
        serveSignIns(api, { ...routed, ...deps.exports });
        serveQuestions(api, {
          ...routed,
          ...deps.exports,
          lookups: createSessionLookups(deps),
          densities: createDensityMemory(),
          egressSince: createEgressSince(deps),
          version: config.version,
        });
        const stream = {
          ...routed,
          config: config.stream,
          metrics: deps.streamMetrics,
          shares: createShares(config.stream.clients_per_key_max),
        };
        serveStream(api, stream);
        serveLiveView(api, { ...stream, views: createViews(deps) });
      },
      { prefix: '/api/v1' },
    );
    await guarded.register(
      async (clash) => {
        serveClash(clash, { ...routed, version: config.version });
        serveClashSockets(clash, routed);
      },
      { prefix: '/clash' },
    );
  });
  return app;
}

/** Reason of all these signals: by default each one makes an error with a stack. */
const OVER = new Error('the request is over');

/**
 * Fires when the client goes away or has its answer. Fastify's own signal fires as soon as a body has been
 * read, so a write would end before it began.
 */
function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    gone.abort(OVER);
  });
  return gone.signal;
}

function contextOf(
  request: FastifyRequest,
  reply: FastifyReply,
  deps: Pick<AppDeps, 'now' | 'mask'>,
): Context {
  const { principal } = request;
  return {
    signal: goneSignal(reply),
    nowMs: deps.now(),
    principal,
    ...visitorOf(request),
    mask: mayDo(principal, 'admin') ? NO_MASK : deps.mask,
    onlyUsers: principal.users,
    request,
    reply,
  };
}

/**
 * Answers have the types of their schemas, and their rows were validated when they came from the
 * database; validating each again would double the cost of a page. Tests do validate them.
 */
const plainSerializer: FastifySerializerCompiler<z.ZodType> = () => JSON.stringify;
