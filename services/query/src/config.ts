import {
  durationMs,
  integer,
  isLoopback,
  listenAddress,
  logConfig,
  textList,
} from '@sockscope/runtime';
import { clickhouseConfig } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { authConfig } from './auth/config.js';
import { streamConfig } from './stream/config.js';
import { evidenceConfig } from './evidence/config.js';
import { lookupConfig } from './questions/lookup/config.js';
import { signalsConfig } from './questions/signals/config.js';
import { exportConfig } from './export/config.js';
import { maskConfig, MASK_KEY_CHARS_MIN } from './mask/config.js';

const ORIGIN = /^https?:\/\/(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/;

/** Settings of the query service. Limits stand beside their defaults. */
const settings = z.object({
  listen: listenAddress().default({ host: '127.0.0.1', port: 8080 }).meta({
    env: 'QUERY_LISTEN',
    description: 'address and port of the API and the dashboard',
  }),
  ops: z.object({
    listen: listenAddress()
      .default({ host: '127.0.0.1', port: 9103 })
      .meta({ env: 'QUERY_OPS_LISTEN', description: 'address of /metrics, /healthz, /readyz' }),
  }),
  http: z.object({
    request_timeout_ms: durationMs({ min: 1_000, max: 300_000 }).default(15_000).meta({
      env: 'QUERY_REQUEST_TIMEOUT',
      description: 'time limit for a client to send its request',
    }),
    public_url: z
      .union([z.literal(''), z.url({ protocol: /^https?$/ })], {
        error: 'must be a URL such as https://sockscope.example.com',
      })
      .default('')
      .meta({
        env: 'QUERY_PUBLIC_URL',
        description:
          'address of the service for browsers, such as https://sockscope.example.com; with https, session cookies are https only',
      }),
    hosts: textList().default([]).meta({
      env: 'QUERY_HOSTS',
      description:
        'host names that are answered; empty: any; without authentication: only loopback names',
    }),
    origins: textList()
      .pipe(
        z.array(
          z
            .string()
            .toLowerCase()
            .regex(
              ORIGIN,
              'must be an origin such as https://dashboard.example.com, without a path',
            ),
        ),
      )
      .default([])
      .meta({
        env: 'QUERY_ORIGINS',
        description:
          "origins whose pages may read the API (CORS) and open its WebSockets, such as https://dashboard.example.com; empty: only the service's own pages",
      }),
    trusted_proxies: textList()
      .pipe(
        z.array(
          z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], {
            error: 'must be an address or a block such as 10.0.0.0/8',
          }),
        ),
      )
      .default([])
      .meta({
        env: 'QUERY_TRUSTED_PROXIES',
        description:
          "addresses or networks of reverse proxies, such as 10.0.0.0/8, whose X-Forwarded-For gives the client's address; empty: none",
      }),
    connections_max: integer({ min: 1, max: 100_000 }).default(4_096).meta({
      env: 'QUERY_CONNECTIONS_MAX',
      description:
        'open client connections; more are closed at once, and so are those beyond half of them from one address or IPv6 /64, unless it is a trusted proxy',
    }),
  }),
  limits: z.object({
    reuse_ms: durationMs({ max: 60_000 }).default(1_000).meta({
      env: 'QUERY_REUSE',
      description: 'how long an answer about sums is shared; 0 asks ClickHouse each time',
    }),
    sums_age_ms: durationMs({ max: 3_600_000 }).default(0).meta({
      env: 'QUERY_SUMS_AGE',
      description:
        'how old sums may be; hours and slices with older sums are read from the sessions, which takes longer',
    }),
    light_running_max: integer({ min: 1, max: 10_000 }).default(8).meta({
      env: 'QUERY_LIGHT_RUNNING_MAX',
      description: 'pages and single sessions that are answered at once',
    }),
    light_waiting_max: integer({ min: 0, max: 100_000 }).default(1_000).meta({
      env: 'QUERY_LIGHT_WAITING_MAX',
      description: 'pages and single sessions that may wait for a place; more get 503',
    }),
    light_rows_max: integer({ min: 0 }).default(1_000_000).meta({
      env: 'QUERY_LIGHT_ROWS_MAX',
      description:
        'rows that a page of sessions may read; a page that reads more counts as a question about sums',
    }),
    heavy_running_max: integer({ min: 1, max: 1_000 }).default(4).meta({
      env: 'QUERY_HEAVY_RUNNING_MAX',
      description: 'questions about sums that are answered at once',
    }),
    heavy_waiting_max: integer({ min: 0, max: 100_000 }).default(200).meta({
      env: 'QUERY_HEAVY_WAITING_MAX',
      description: 'questions about sums that may wait for a place; more get 503',
    }),
    wait_max_ms: durationMs({ min: 10, max: 60_000 }).default(600).meta({
      env: 'QUERY_WAIT_MAX',
      description: 'longest wait of a request for its places, then 503',
    }),
    rate_per_minute: integer({ min: 0 }).default(6_000).meta({
      env: 'QUERY_RATE_PER_MINUTE',
      description:
        'requests per minute of one key or token; more get 429; 0: no limit. Not applied without authentication',
    }),
    query_timeout_ms: durationMs({ min: 100, max: 290_000 }).default(10_000).meta({
      env: 'QUERY_TIMEOUT',
      description: 'deadline of one query in ClickHouse',
    }),
    rows_to_read_max: integer({ min: 1_000 }).default(200_000_000).meta({
      env: 'QUERY_ROWS_TO_READ_MAX',
      description: 'rows that one query may read; a larger query gets 422 too-expensive',
    }),
    memory_max_bytes: integer({ min: 1_048_576 }).default(2_147_483_648).meta({
      env: 'QUERY_MEMORY_MAX_BYTES',
      description: 'memory that one query may take in ClickHouse',
    }),
  }),
  exports: exportConfig,
  lookup: lookupConfig,
  signals: signalsConfig,
  evidence: evidenceConfig,
  stream: streamConfig,
  auth: authConfig,
  mask: maskConfig,
  clickhouse: clickhouseConfig,
  log: logConfig,
  shutdown_deadline_ms: durationMs({ min: 1_000, max: 600_000 }).default(10_000).meta({
    env: 'SHUTDOWN_DEADLINE',
    description: 'a stop that takes longer ends the process',
  }),
});

type Settings = z.infer<typeof settings>;

/** Loopback as URLs write it. Not all of 127.0.0.0/8: `127.example.com` is a name. */
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/** Rules between settings. */
function checkSettings(config: Settings, ctx: z.core.$RefinementCtx): void {
  const wrong = (path: string[], message: string) => {
    ctx.addIssue({ code: 'custom', path, message });
  };
  if (config.auth.methods.length === 0 && !isLoopback(config.listen)) {
    wrong(
      ['QUERY_LISTEN'],
      'is not a loopback address, so authentication is needed: set QUERY_AUTH to api_keys, jwt or oidc',
    );
  }
  if (config.auth.methods.includes('jwt')) {
    if (config.auth.jwt_issuer === '') wrong(['QUERY_JWT_ISSUER'], 'is needed with QUERY_AUTH=jwt');
    if (config.auth.jwt_audience === '') {
      wrong(['QUERY_JWT_AUDIENCE'], 'is needed with QUERY_AUTH=jwt');
    }
  }
  if (config.auth.methods.includes('oidc')) {
    const { oidc_issuer: issuer, oidc_client_id, oidc_grants } = config.auth;
    if (issuer === '') wrong(['QUERY_OIDC_ISSUER'], 'is needed with QUERY_AUTH=oidc');
    else if (!issuer.startsWith('https:') && !LOOPBACK.includes(new URL(issuer).hostname)) {
      wrong(['QUERY_OIDC_ISSUER'], 'must be https, because its answers grant access');
    }
    if (oidc_client_id === '') wrong(['QUERY_OIDC_CLIENT_ID'], 'is needed with QUERY_AUTH=oidc');
    if (oidc_grants.length === 0) wrong(['QUERY_OIDC_GRANTS'], 'is needed with QUERY_AUTH=oidc');
    if (config.http.public_url === '') {
      wrong(
        ['QUERY_PUBLIC_URL'],
        'is needed with QUERY_AUTH=oidc: the provider sends people there',
      );
    }
  }
  const masks = config.mask.addresses === 'hmac' || config.mask.users === 'hmac';
  if (masks && config.mask.key.length < MASK_KEY_CHARS_MIN) {
    wrong(['QUERY_MASK_KEY'], `needs at least ${MASK_KEY_CHARS_MIN} characters`);
  }
}

export const queryConfig = settings.superRefine(checkSettings);

export type QueryConfig = z.infer<typeof queryConfig>;
