import { useEffect, useMemo } from 'preact/hooks';
import { get } from './client.js';
import type { Params } from './client.js';
import { createResource } from './resource.js';
import type { Loaded } from './resource.js';

/** How often a page asks again. The API's answers are shared between viewers. */
export const REFRESH_MS = 10_000;

export interface Answer<T> {
  readonly loaded: Loaded<T>;
  readonly retry: () => void;
}

/**
 * The answer to a question, asked again when its parameters change and every `everyMs`; 0: once. With
 * null as its path nothing is asked.
 */
export function useAnswer<T>(path: string | null, params: Params, everyMs = REFRESH_MS): Answer<T> {
  const resource = useMemo(() => createResource<T>(), []);
  const entries = [...params];
  const key = JSON.stringify([path, entries, everyMs]);
  useEffect(() => {
    if (path === null) resource.stop();
    else resource.ask((signal) => get<T>(path, entries, signal), everyMs);
  }, [key]);
  useEffect(() => () => resource.stop(), [resource]);
  return {
    loaded: resource.state.value,
    retry: () => {
      resource.retry();
    },
  };
}
