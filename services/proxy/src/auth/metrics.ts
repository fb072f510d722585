import { Counter, Gauge, Histogram } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';

const RESULTS = ['verified', 'remembered', 'wrong', 'throttled', 'busy', 'left'] as const;
export type AttemptResult = (typeof RESULTS)[number];

export interface AuthMetrics {
  attempt(result: AttemptResult): void;
  hashed(seconds: number): void;
  loaded(users: number): void;
  rejected(): void;
}

export function createAuthMetrics(registry: Registry, waiting: () => number): AuthMetrics {
  const attempts = new Counter({
    name: 'sockscope_proxy_auth_attempts_total',
    help: 'Logins by result: verified by hashing, remembered from before, wrong, throttled after failures, busy because too many wait, left before their turn.',
    labelNames: ['result'],
    registers: [registry],
  });
  for (const result of RESULTS) attempts.inc({ result }, 0);
  const hashing = new Histogram({
    name: 'sockscope_proxy_auth_hash_duration_seconds',
    help: 'Time to hash one password, without waiting.',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  new Gauge({
    name: 'sockscope_proxy_auth_hash_waiting',
    help: 'Logins that wait for hashing.',
    registers: [registry],
    collect() {
      this.set(waiting());
    },
  });
  const loads = new Counter({
    name: 'sockscope_proxy_users_loads_total',
    help: 'Attempts to load the users file. After a rejected one, the former users stay in force.',
    labelNames: ['result'],
    registers: [registry],
  });
  for (const result of ['accepted', 'rejected']) loads.inc({ result }, 0);
  const valid = new Gauge({
    name: 'sockscope_proxy_users_file_valid',
    help: '1 if the users in force come from the present file, 0 if that file was rejected.',
    registers: [registry],
    aggregator: 'min',
  });
  valid.set(1);
  const users = new Gauge({
    name: 'sockscope_proxy_users',
    help: 'Users in force.',
    registers: [registry],
    aggregator: 'max',
  });
  return {
    attempt(result) {
      attempts.inc({ result });
    },
    hashed(seconds) {
      hashing.observe(seconds);
    },
    loaded(count) {
      loads.inc({ result: 'accepted' });
      valid.set(1);
      users.set(count);
    },
    rejected() {
      loads.inc({ result: 'rejected' });
      valid.set(0);
    },
  };
}
