import type { ClashConnections } from '@sockscope/schemas/api';
import type { CoverageReader } from '../coverage/coverage.js';
import type { Presenter } from '../mask/presenter.js';
import type { Asking, Store } from '../store/store.js';
import { openConnections, shownConnections } from './connections.js';

/** What dashboards made for mihomo listen to, by the last part of the address. */
export const CLASH_FEEDS = ['connections', 'traffic', 'memory', 'logs'] as const;
export type ClashFeed = (typeof CLASH_FEEDS)[number];

/** What is to be sent now; null for nothing. */
type NextMessage = (asking: Asking) => Promise<object | null>;

/** The messages of one socket. */
export function createFeed(
  feed: ClashFeed,
  deps: { readonly store: Store; readonly coverage: CoverageReader },
  who: { readonly onlyUser: string | null; readonly presenter: Presenter },
): NextMessage {
  const connections = async (asking: Asking) =>
    shownConnections(await openConnections(deps, who.onlyUser, asking), who.presenter);
  switch (feed) {
    case 'connections':
      return connections;
    case 'traffic':
      return trafficOf(connections);
    case 'memory':
      return async () => ({ inuse: process.memoryUsage.rss(), oslimit: 0 });
    case 'logs':
      // There are no lines to show, but such a dashboard begins all its sockets anew when one ends.
      return async () => null;
  }
}

/**
 * Bytes a second since the message before, over the sessions that `connections` tells of. What a
 * session moved between its last message and its end is not in it: the rate is to look at.
 */
function trafficOf(connections: (asking: Asking) => Promise<ClashConnections>): NextMessage {
  let before: { readonly atMs: number; readonly moved: ReadonlyMap<string, Moved> } | null = null;
  return async (asking) => {
    const state = await connections(asking);
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
    return { up: Math.round(rate.up), down: Math.round(rate.down) };
  };
}

interface Moved {
  readonly upload: number;
  readonly download: number;
}

const NOTHING: Moved = { upload: 0, download: 0 };
