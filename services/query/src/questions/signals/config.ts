import { durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';

const count = (env: string, value: number, description: string) =>
  integer({ min: 2, max: 1_000_000 }).default(value).meta({ env, description });

/** Thresholds from which something looks wrong. */
export const signalsConfig = z.object({
  shared_networks: count(
    'QUERY_SIGNAL_SHARED_NETWORKS',
    4,
    'shared account: source networks (/24, /48) of one user open at once',
  ),
  scan_hosts: count('QUERY_SIGNAL_SCAN_HOSTS', 50, 'scan: hosts on one port within 10 minutes'),
  scan_ports: count('QUERY_SIGNAL_SCAN_PORTS', 20, 'scan: ports of one host within 10 minutes'),
  scan_failed_percent: integer({ min: 1, max: 100 }).default(70).meta({
    env: 'QUERY_SIGNAL_SCAN_FAILED_PERCENT',
    description: 'scan: percentage of these sessions that failed or were rejected',
  }),
  mail_sessions: count(
    'QUERY_SIGNAL_MAIL_SESSIONS',
    20,
    'mail: sessions to ports 25, 465 and 587 within an hour',
  ),
  beacon_starts: count(
    'QUERY_SIGNAL_BEACON_STARTS',
    12,
    'beacon: starts of one user, host and port at even gaps',
  ),
  beacon_gap_min_ms: durationMs({ min: 1_000, max: 86_400_000 }).default(10_000).meta({
    env: 'QUERY_SIGNAL_BEACON_GAP_MIN',
    description: 'beacon: least median gap',
  }),
  beacon_gap_max_ms: durationMs({ min: 1_000, max: 86_400_000 }).default(21_600_000).meta({
    env: 'QUERY_SIGNAL_BEACON_GAP_MAX',
    description: 'beacon: largest median gap',
  }),
  beacon_spread_percent: integer({ min: 0, max: 100 }).default(10).meta({
    env: 'QUERY_SIGNAL_BEACON_SPREAD_PERCENT',
    description: 'beacon: largest (p90 − p10) ÷ median of the gaps, in percent',
  }),
  first_seen_days: integer({ min: 1, max: 3_660 }).default(14).meta({
    env: 'QUERY_SIGNAL_FIRST_SEEN_DAYS',
    description: 'first seen: days of history that are needed before anything counts as new',
  }),
  first_seen_bytes: integer({ min: 1 }).default(100_000_000).meta({
    env: 'QUERY_SIGNAL_FIRST_SEEN_BYTES',
    description: 'first seen: bytes sent to the new destination',
  }),
  first_seen_ratio: integer({ min: 1, max: 1_000_000 }).default(5).meta({
    env: 'QUERY_SIGNAL_FIRST_SEEN_RATIO',
    description: 'first seen: least ratio of bytes sent to bytes received',
  }),
});
export type SignalsConfig = z.infer<typeof signalsConfig>;
