import { expect, test } from 'vitest';
import { ACCOUNTS, ACL, addressOf, LANDS, NAMED, PEOPLE, REFUSED } from './cast.js';
import { planOf } from './plan.js';
import { randomOf } from './random.js';

test('names, addresses, accounts and desks of the demo are different from each other', () => {
  const [land] = LANDS;
  const hosts = NAMED.map(({ host }) => host);
  const addresses = NAMED.map((place) => (land === undefined ? '' : addressOf(place, land)));
  const names = ACCOUNTS.map(({ name }) => name);
  const desks = PEOPLE.map(({ sources }) => sources[0]);
  for (const list of [hosts, addresses, names, desks]) expect(new Set(list).size).toBe(list.length);
  expect([...addresses, ...desks].filter((ip) => !/^127\.\d+\.\d+\.\d+$/.test(ip))).toEqual([]);
});

test('attempts that the demo plans as refused are refused by a rule of its ACL, or protected anyway', () => {
  const rules = REFUSED.map(({ rule }) => rule ?? 'default');
  const missing = rules.filter(
    (rule) => !rule.startsWith('protection:') && !ACL.includes(`name: ${rule}\n`),
  );
  expect(missing).toEqual([]);
});

test('the plans of the demo hold every outcome, and most are served', () => {
  const [land] = LANDS;
  if (land === undefined) throw new Error('no land');
  const random = randomOf(7);
  const count = new Map<string, number>();
  for (let index = 0; index < 5_000; index += 1) {
    const { outcome } = planOf(random, land);
    count.set(outcome, (count.get(outcome) ?? 0) + 1);
  }
  expect([...count.keys()].toSorted()).toEqual(
    ['blocked', 'broken_off', 'refused', 'served', 'unknown'].toSorted(),
  );
  expect(count.get('served')).toBeGreaterThan(4_200);
});
