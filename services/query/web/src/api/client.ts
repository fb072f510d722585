/** Questions to the API, typed by its OpenAPI document. */
import { Problem } from './problem.js';

export type Params = Iterable<readonly [string, string]>;

const PREFIX = '/api/v1';
/** A read of the API takes less; a heavier question is refused by the server before. */
const TIMEOUT_MS = 30_000;

export async function get<T>(path: string, params: Params, signal: AbortSignal): Promise<T> {
  const query = new URLSearchParams([...params].map(([name, value]) => [name, value])).toString();
  return request<T>('GET', query === '' ? path : `${path}?${query}`, undefined, signal);
}

/** A write: JSON of the same origin, which the server insists on. */
export async function send<T>(
  method: 'POST' | 'DELETE',
  path: string,
  body: unknown,
  signal: AbortSignal,
): Promise<T> {
  return request<T>(method, path, JSON.stringify(body ?? {}), signal);
}

async function request<T>(
  method: string,
  path: string,
  body: string | undefined,
  signal: AbortSignal,
): Promise<T> {
  const response = await fetch(`${PREFIX}${path}`, {
    method,
    headers: {
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body }),
    credentials: 'same-origin',
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  if (response.ok) return (response.status === 204 ? null : await response.json()) as T;
  const document: unknown = await response.json().catch(() => ({}));
  throw new Problem(response.status, document ?? {}, response.headers);
}
