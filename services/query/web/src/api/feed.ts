/**
 * A stream of server-sent events, each of which replaces the previous one. It is open only while the page
 * is visible: a browser has six connections to a server, and a tab that nobody sees needs none of them.
 */
import { signal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { addressOf } from './client.js';
import type { Params } from './client.js';
import { Problem } from './problem.js';
import type { Loaded } from './resource.js';
import { askWhoWeAre } from '../state/me.js';

export interface Feed<T> {
  readonly state: ReadonlySignal<Loaded<T>>;
  open(address: string): void;
  /** Whether the last frame came from this address. */
  shows(address: string): boolean;
  /** Ends the stream; the last frame stays. */
  close(): void;
}

/** Pause before a refused stream is requested again. */
const RETRY_MS = 5_000;

/** @param event the name of the events whose data is shown. */
export function createFeed<T>(event: string): Feed<T> {
  const state = signal<Loaded<T>>({ value: null, at: 0, isLoading: false, problem: null });
  let wanted: string | null = null;
  let shown: string | null = null;
  let source: EventSource | null = null;
  let timer: number | undefined;

  function connect(): void {
    if (wanted === null || source !== null || document.hidden) return;
    const own = new EventSource(wanted);
    source = own;
    state.value = { ...state.value, isLoading: state.value.value === null };
    own.addEventListener(event, ({ data }) => {
      if (source !== own) return;
      shown = wanted;
      state.value = {
        value: JSON.parse(String(data)) as T,
        at: Date.now(),
        isLoading: false,
        problem: null,
      };
    });
    own.addEventListener('error', () => {
      if (source !== own) return;
      // While it is CONNECTING the browser tries by itself; a refusal is final for it.
      if (own.readyState !== EventSource.CLOSED) return;
      disconnect();
      state.value = {
        ...state.value,
        isLoading: false,
        problem: new Problem(503, {}, new Headers({ 'retry-after': String(RETRY_MS / 1_000) })),
      };
      // Perhaps we are signed out: an event source hides the reason of a refusal.
      void askWhoWeAre();
      timer = window.setTimeout(connect, RETRY_MS);
    });
  }
  function disconnect(): void {
    window.clearTimeout(timer);
    source?.close();
    source = null;
  }
  function seen(): void {
    if (document.hidden) disconnect();
    else connect();
  }

  return {
    state,
    open(address) {
      disconnect();
      wanted = address;
      document.addEventListener('visibilitychange', seen);
      connect();
    },
    shows: (address) => shown === address,
    close() {
      wanted = null;
      document.removeEventListener('visibilitychange', seen);
      disconnect();
    },
  };
}

/**
 * The last frame of a stream; null as its path closes it.
 *
 * @param isHeld closes the stream after its first frame.
 */
export function useFeed<T>(
  path: string | null,
  params: Params,
  event: string,
  isHeld: boolean,
): Loaded<T> {
  const feed = useMemo(() => createFeed<T>(event), [event]);
  const loaded = feed.state.value;
  const wanted = path === null ? null : addressOf(path, params);
  const address = wanted !== null && isHeld && feed.shows(wanted) ? null : wanted;
  useEffect(() => {
    if (address === null) feed.close();
    else feed.open(address);
  }, [feed, address]);
  useEffect(
    () => () => {
      feed.close();
    },
    [feed],
  );
  return loaded;
}
