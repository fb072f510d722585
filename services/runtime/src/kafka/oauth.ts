/**
 * Tokens for SASL OAUTHBEARER: fetched by client credentials (RFC 6749, section 4.4), kept until shortly
 * before they end, and shared by all clients of the process.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { secretOf } from '../config/secret-file.js';
import { messageOf } from '../errors.js';
import type { KafkaConfig } from './config.js';
import { KafkaError } from './errors.js';

export interface Token {
  readonly value: string;
  /** Milliseconds since 1970. */
  readonly endsMs: number;
}

type OAuthConfig = Pick<
  KafkaConfig,
  | 'oauth_token_url'
  | 'oauth_client_id'
  | 'oauth_client_secret'
  | 'oauth_client_secret_file'
  | 'oauth_scope'
  | 'oauth_ca_file'
  | 'connect_timeout_ms'
>;

/** Share of a token's life. After it, a new token is fetched. */
const USED_FRACTION = 0.8;
/** Life of a token if the server does not state it. */
const DEFAULT_LIFE_SECONDS = 300;
const ANSWER_MAX_BYTES = 256 * 1024;

const tokenAnswer = z.object({
  access_token: z.string().min(1),
  expires_in: z.coerce.number().positive().default(DEFAULT_LIFE_SECONDS),
});

const known = new Map<string, Promise<Token>>();

/** A token that is still good for a while. @throws KafkaError `kafka_auth` if none is available. */
export async function tokenOf(config: OAuthConfig, nowMs = Date.now): Promise<Token> {
  const key = JSON.stringify([config.oauth_token_url, config.oauth_client_id, config.oauth_scope]);
  const before = known.get(key);
  const token = await before?.catch(() => null);
  if (token !== null && token !== undefined && token.endsMs > nowMs()) return token;
  // Another caller may have begun meanwhile.
  const current = known.get(key);
  if (current !== undefined && current !== before) return current;
  const fetching = fetchToken(config, nowMs());
  known.set(key, fetching);
  return fetching;
}

async function fetchToken(config: OAuthConfig, nowMs: number): Promise<Token> {
  const refused = (why: string, cause?: unknown) =>
    new KafkaError(
      'kafka_auth',
      `no token from ${config.oauth_token_url} for client ${config.oauth_client_id}: ${why}. ` +
        'Check KAFKA_OAUTH_TOKEN_URL, the client id, its secret and the scope',
      { retryable: true, cause },
    );
  let status: number;
  let body: string;
  try {
    const secret = secretOf(config.oauth_client_secret, config.oauth_client_secret_file);
    ({ status, body } = await post(config, secret));
  } catch (cause) {
    throw refused(messageOf(cause), cause);
  }
  if (status !== 200) throw refused(`HTTP ${status}${errorIn(body)}`);
  const answer = tokenAnswer.safeParse(jsonOf(body));
  if (!answer.success) throw refused('the answer has no token');
  const { access_token: value, expires_in: seconds } = answer.data;
  return { value, endsMs: nowMs + seconds * 1_000 * USED_FRACTION };
}

async function post(
  config: OAuthConfig,
  secret: string,
): Promise<{ status: number; body: string }> {
  const url = new URL(config.oauth_token_url);
  const form = new URLSearchParams({ grant_type: 'client_credentials' });
  if (config.oauth_scope !== '') form.set('scope', config.oauth_scope);
  // RFC 6749, section 2.3.1: both are encoded like form fields first.
  const credentials = [config.oauth_client_id, secret].map(encodeURIComponent).join(':');
  const options = {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
      accept: 'application/json',
    },
    signal: AbortSignal.timeout(config.connect_timeout_ms),
    ...(config.oauth_ca_file === '' ? {} : { ca: readFileSync(config.oauth_ca_file) }),
  };
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const request =
      url.protocol === 'https:'
        ? https.request(url, options, resolve)
        : http.request(url, options, resolve);
    request.once('error', reject).end(form.toString());
  });
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > ANSWER_MAX_BYTES) response.destroy(new Error('the answer is too long'));
  });
  return { status: response.statusCode ?? 0, body: await text(response) };
}

function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

/** The error's name as RFC 6749, section 5.2 has it; nothing else of the body is shown. */
function errorIn(body: string): string {
  const parsed = z.object({ error: z.string().max(100) }).safeParse(jsonOf(body));
  return parsed.success ? ` ${parsed.data.error}` : '';
}
