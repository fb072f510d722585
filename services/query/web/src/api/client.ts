/** Questions to the API. The client that is generated from its OpenAPI document types the answers. */
import { signal } from '@preact/signals';
import { Problem } from './problem.js';

export type Params = Iterable<readonly [string, string]>;

export const PREFIX = '/api/v1';
/** A read of the API takes less; a heavier question is refused by the server before. */
const TIMEOUT_MS = 30_000;

/** The API does not know the caller: the page asks for a key. */
export const isSignedOut = signal(false);

/** The address of a question, for links and streams. */
export function addressOf(path: string, params: Params): string {
  const query = new URLSearchParams([...params].map(([name, value]) => [name, value])).toString();
  return `${PREFIX}${path}${query === '' ? '' : `?${query}`}`;
}

/**
 * Asks once.
 *
 * @param ending aborts the question.
 * @throws Problem with the API's explanation, or if it does not answer.
 */
export async function get<T>(path: string, params: Params, ending: AbortSignal): Promise<T> {
  const response = await fetch(addressOf(path, params), {
    headers: { accept: 'application/json' },
    credentials: 'same-origin',
    signal: AbortSignal.any([ending, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  if (response.ok) return (await response.json()) as T;
  throw await problemOf(response);
}

/** A write: `POST`, or another method. @throws Problem */
export async function send<T>(path: string, body: unknown, method = 'POST'): Promise<T | null> {
  const response = await fetch(`${PREFIX}${path}`, {
    method,
    // The API takes no write that is not JSON, so even an empty one has a body.
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    credentials: 'same-origin',
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : ((await response.json()) as T);
}

async function problemOf(response: Response): Promise<Problem> {
  // The sign-in form itself reports a wrong key.
  if (response.status === 401 && !response.url.endsWith('/login')) isSignedOut.value = true;
  const document: unknown = await response.json().catch(() => ({}));
  return new Problem(response.status, document ?? {}, response.headers);
}
