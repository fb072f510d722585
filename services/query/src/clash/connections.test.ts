import { describe, expect, it } from 'vitest';
import type { Store } from '../store/store.js';
import { openConnections } from './connections.js';

/** The most sessions that are listed. */
const LISTED = 2_000;
const asking = { signal: new AbortController().signal };

/** Open sessions of one byte each way, and their totals. */
function storeOf(open: number): Store {
  const rows = Array.from({ length: Math.min(open, LISTED) }, () => ({
    bytes_sent: 1,
    bytes_received: 1,
  }));
  const totals = [{ bytes_sent: open, bytes_received: open }];
  return {
    ask: async ({ name }: { readonly name: string }) => (name === 'open_totals' ? totals : rows),
  } as unknown as Store;
}

describe('the totals of open connections', () => {
  it.each([3, LISTED, 2_500])(
    'include all %d sessions, although fewer may be listed',
    async (open) => {
      const { rows, totals } = await openConnections(storeOf(open), null, asking);
      expect(rows).toHaveLength(Math.min(open, LISTED));
      expect(totals).toEqual({ bytes_sent: open, bytes_received: open });
    },
  );
});
