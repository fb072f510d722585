import type { ClashConnections } from '@sockscope/schemas/api';
import type { Mask } from '../mask/mask.js';
import { presenterOf } from '../mask/presenter.js';
import type { OpenSession } from '../sql/active.js';
import type { Asking, Store } from '../store/store.js';
import { openConnections, shownConnections } from './connections.js';

/** The feeds for dashboards of mihomo, by the last part of the address. */
export const CLASH_FEEDS = ['connections', 'traffic', 'memory', 'logs'] as const;
export type ClashFeed = (typeof CLASH_FEEDS)[number];

/** The message to send now; null for none. */
type NextMessage = (asking: Asking) => Promise<string | null>;

interface View {
  readonly state: ClashConnections;
  readonly text: string;
}

/**
 * Messages for all clients with the same view. Clients that ask within the time that an answer is reused get the
 * same rows, and the same rows are shown and written once.
 */
export interface SharedViews {
  of(rows: readonly OpenSession[], mask: Mask, make: () => ClashConnections): View;
}

export function createSharedViews(): SharedViews {
  const views = new WeakMap<readonly OpenSession[], Map<Mask, View>>();
  return {
    of(rows, mask, make) {
      const byMask = views.get(rows) ?? new Map<Mask, View>();
      views.set(rows, byMask);
      let view = byMask.get(mask);
      if (view === undefined) {
        const state = make();
        view = { state, text: JSON.stringify(state) };
        byMask.set(mask, view);
      }
      return view;
    },
  };
}

/** The messages of one socket. */
export function createFeed(
  feed: ClashFeed,
  store: Store,
  who: { readonly onlyUsers: readonly string[] | null; readonly mask: Mask },
  views: SharedViews,
): NextMessage {
  const connections = async (asking: Asking) => {
    const open = await openConnections(store, who.onlyUsers, asking);
    return views.of(open.rows, who.mask, () => shownConnections(open, presenterOf(who.mask)));
  };
  switch (feed) {
    case 'connections':
      return async (asking) => (await connections(asking)).text;
    case 'traffic':
      return trafficOf(connections);
    case 'memory':
      return async () => JSON.stringify({ inuse: process.memoryUsage.rss(), oslimit: 0 });
    case 'logs':
      // There are no lines to show, but such a dashboard reconnects all its sockets when one ends.
      return async () => null;
  }
}

/**
 * Bytes a second since the previous message, over the sessions of `connections`. Bytes of a
 * session between its last message and its end are missing: the rate is only for display.
 */
function trafficOf(connections: (asking: Asking) => Promise<View>): NextMessage {
  let before: { readonly atMs: number; readonly moved: ReadonlyMap<string, Moved> } | null = null;
  return async (asking) => {
    const { state } = await connections(asking);
    const atMs = performance.now();
    const moved = new Map(state.connections.map((each) => [each.id, each]));
    const rate = { up: 0, down: 0 };
    if (before !== null) {
      const seconds = (atMs - before.atMs) / 1_000;
      for (const [id, now] of moved) {
        const known = before.moved.get(id) ?? NOTHING;
        rate.up += Math.max(0, now.upload - known.upload) / seconds;
        rate.down += Math.max(0, now.download - known.download) / seconds;
      }
    }
    before = { atMs, moved };
    return JSON.stringify({ up: Math.round(rate.up), down: Math.round(rate.down) });
  };
}

interface Moved {
  readonly upload: number;
  readonly download: number;
}

const NOTHING: Moved = { upload: 0, download: 0 };
