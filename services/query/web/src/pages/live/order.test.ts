import { describe, expect, test } from 'vitest';
import { grouped, held } from './order.js';

const row = (session_id: string, rate = 0, user = 'alice') => ({
  session_id,
  user,
  bytes_sent_per_second: rate,
  bytes_received_per_second: 0,
});

describe('rows of the live view', () => {
  test('rows that are held keep their places and show their newest values; new ones wait, ended ones stay', () => {
    const shown = held([row('a', 9), row('b', 5)], [row('c', 99), row('b', 50)]);
    expect(shown.rows).toEqual([row('a', 9), row('b', 50)]);
    expect([...shown.gone]).toEqual(['a']);
    expect(shown.waiting).toBe(1);
  });

  test('groups add up their sessions and rates, the busiest first', () => {
    expect(grouped([row('a', 1), row('b', 7, 'bob'), row('c', 2)], 'user')).toEqual([
      { key: 'bob', sessions: 1, sentRate: 7, receivedRate: 0 },
      { key: 'alice', sessions: 2, sentRate: 3, receivedRate: 0 },
    ]);
  });
});
