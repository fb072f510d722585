import createFetchClient from 'openapi-fetch';
import type { Client, ClientOptions } from 'openapi-fetch';
import type { components, paths } from './schema.generated.js';

export type { components, operations, paths } from './schema.generated.js';

/** The schemas of answers and frames of the stream, by name. */
export type Schemas = components['schemas'];
export type ApiClient = Client<paths>;

/**
 * Returns a client of the API. Its methods answer `{ data, error, response }`; `error` is a problem
 * document, and nothing is thrown but by `fetch` itself.
 *
 * @param options `baseUrl` is the address of the query service without a path; `headers` may hold
 * `Authorization` or `X-API-Key`.
 */
export function createClient(options: ClientOptions = {}): ApiClient {
  return createFetchClient<paths>({
    // `user=a&user=b`, as the API takes filters that may be repeated.
    querySerializer: { array: { style: 'form', explode: true } },
    ...options,
  });
}
