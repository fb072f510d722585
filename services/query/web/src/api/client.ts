/** Questions to the API, typed by its OpenAPI document. */
import { Problem } from './problem.js';

export type Params = Iterable<readonly [string, string]>;

const PREFIX = '/api/v1';
/** A read of the API takes less; a heavier question is refused by the server before. */
const TIMEOUT_MS = 30_000;

/** @throws Problem what the API says, or that it does not answer. */
export async function get<T>(path: string, params: Params, signal: AbortSignal): Promise<T> {
  const query = new URLSearchParams([...params].map(([name, value]) => [name, value])).toString();
  const response = await fetch(`${PREFIX}${path}${query === '' ? '' : `?${query}`}`, {
    headers: { accept: 'application/json' },
    credentials: 'same-origin',
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  if (response.ok) return (await response.json()) as T;
  const document: unknown = await response.json().catch(() => ({}));
  throw new Problem(response.status, document ?? {}, response.headers);
}
