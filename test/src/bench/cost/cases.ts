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

/** The cases of a run that names none. */
export const DEFAULT_CASES = ['short-300', 'short-1000', 'long-2000', 'flat-out'];

/** `short-N` for N short sessions a second, `long-2000` or `flat-out`; null for another name. */
export function costCase(name: string): CostCase | null {
  const perSecond = /^short-([1-9]\d{0,4})$/.exec(name)?.[1];
  if (perSecond !== undefined) return paced(Number(perSecond));
  if (name === 'long-2000') {
    return {
      name: '2,000 long sessions, each active every 5 s',
      job: (durationMs) => ({ kind: 'hold', sessions: 2_000, echoEveryMs: 5_000, durationMs }),
    };
  }
  if (name !== 'flat-out') return null;
  return {
    name: '32 clients without a pause',
    job: (durationMs) => ({ kind: 'connect_rate', atOnce: 32, durationMs }),
  };
}
