import { describe, expect, it } from 'vitest';
import type { Store } from '../../store/store.js';
import { createRates } from './rates.js';

const settled = () => new Promise((resolve) => setImmediate(resolve));

function storeWith(answer: () => Promise<readonly object[]>): { store: Store; asked: string[] } {
  const asked: string[] = [];
  const store = {
    ask(query: { readonly name: string }) {
      asked.push(query.name);
      return answer();
    },
    ping: () => Promise.resolve(),
  } as unknown as Store;
  return { store, asked };
}

describe('the rates', () => {
  it('are not known before the sums have come, and then for whom they name', async () => {
    const { store } = storeWith(() => Promise.resolve([{ key: 'alice', sessions: 3_000 }]));
    const rates = createRates({ store });
    expect(rates.gapMs('sessions_by_user', 'alice')).toBeNull();
    await settled();
    expect(rates.gapMs('sessions_by_user', 'alice')).toBe(86_400);
    expect(rates.gapMs('sessions_by_user', 'bob')).toBeNull();
  });

  it('ask once for users and once for destinations, for all callers', async () => {
    const { store, asked } = storeWith(() => Promise.resolve([]));
    const rates = createRates({ store });
    for (const key of ['a', 'b']) {
      rates.gapMs('sessions_by_user', key);
      rates.gapMs('sessions_by_destination', key);
    }
    await settled();
    rates.gapMs('sessions_by_user', 'a');
    expect(asked).toEqual(['rates_user', 'rates_destination']);
  });

  it('do without an answer that fails', async () => {
    const { store } = storeWith(() => Promise.reject(new Error('no database')));
    const rates = createRates({ store });
    rates.gapMs('sessions_by_user', 'a');
    await settled();
    expect(rates.gapMs('sessions_by_user', 'a')).toBeNull();
  });
});
