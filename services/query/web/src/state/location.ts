/**
 * The page's address is its whole state: a path, and parameters in the API's own names. Everything that
 * a person can choose is there, so that going back, reloading and sharing a link work.
 */
import { computed, signal } from '@preact/signals';
import { rangeOf, rangeParams } from './range.js';
import type { Range } from './range.js';

/** Links carry it, so that a later dashboard can read earlier links. */
const LINK_VERSION = '1';

export interface Place {
  readonly path: string;
  readonly params: URLSearchParams;
}

const here = (): Place => ({
  path: window.location.pathname,
  params: new URLSearchParams(window.location.search),
});

export const place = signal<Place>(here());
export const path = computed(() => place.value.path);
export const params = computed(() => place.value.params);
export const range = computed(() => rangeOf(params.value));
export const isComparing = computed(() => params.value.get('compare') === '1');
/** The page keeps its numbers until it is resumed. A changed question is answered all the same. */
export const isPaused = computed(() => params.value.get('paused') === '1');
/** The zone of all times on the page. */
export const zone = computed(() => params.value.get('time_zone') ?? 'UTC');

/** Parameters that hold from page to page. */
const RANGE = ['from', 'to', 'period'] as const;
const OTHER_LASTING = ['time_zone', 'compare', 'paused'] as const;

window.addEventListener('popstate', () => {
  place.value = here();
});

export function hrefOf(target: string, own: Iterable<readonly [string, string]> = []): string {
  const next = new URLSearchParams(Array.from(own, ([name, value]) => [name, value]));
  const hasRange = RANGE.some((name) => next.has(name));
  for (const name of hasRange ? OTHER_LASTING : [...RANGE, ...OTHER_LASTING]) {
    const value = params.value.get(name);
    if (value !== null && !next.has(name)) next.set(name, value);
  }
  return write(target, next);
}

function write(target: string, next: URLSearchParams): string {
  next.delete('v');
  const query = next.toString();
  return query === '' ? target : `${target}?v=${LINK_VERSION}&${query}`;
}

/** Goes to another page: a step that the back button undoes. */
export function go(href: string): void {
  window.history.pushState(null, '', href);
  place.value = here();
}

/** Changes parameters of this page. `null` removes one. A step unless `replace`, as typing wants it. */
export function change(
  changes: Readonly<Record<string, string | readonly string[] | null>>,
  how: 'push' | 'replace' = 'push',
): void {
  const next = new URLSearchParams(params.value);
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    if (value === null) continue;
    for (const each of typeof value === 'string' ? [value] : value) next.append(name, each);
  }
  const href = write(path.value, next);
  if (how === 'push') window.history.pushState(null, '', href);
  else window.history.replaceState(null, '', href);
  place.value = here();
}

export function togglePause(): void {
  change({ paused: isPaused.peek() ? null : '1' });
}

export function changeRange(next: Range): void {
  change({ from: null, to: null, period: null, ...rangeParams(next) });
}
