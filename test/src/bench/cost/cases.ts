import type { Job } from '../proxy/generator/protocol.js';

export interface CostCase {
  readonly name: string;
  /** A job of this length, in milliseconds. */
  job(durationMs: number): Job;
}

const paced = (perSecond: number): CostCase => ({
  name: `${perSecond} short sessions a second`,
  job: (durationMs) => ({ kind: 'connect_rate', atOnce: 512, perSecond, durationMs }),
});

export const COST_CASES: Readonly<Record<string, CostCase>> = {
  'short-300': paced(300),
  'short-1000': paced(1_000),
  'long-2000': {
    name: '2,000 long sessions, each active every 5 s',
    job: (durationMs) => ({ kind: 'hold', sessions: 2_000, echoEveryMs: 5_000, durationMs }),
  },
  'flat-out': {
    name: '32 clients without a pause',
    job: (durationMs) => ({ kind: 'connect_rate', atOnce: 32, durationMs }),
  },
};
