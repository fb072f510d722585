import underPressure from '@fastify/under-pressure';
import type { CheckResult, Health } from '@sockscope/runtime';
import type { FastifyInstance } from 'fastify';
import { ProblemError } from '../problems/problem.js';

export interface PressureLimits {
  /** Length of one measurement, milliseconds. */
  readonly window_ms: number;
  /** Timers that are this late on average mean a queue that only grows. */
  readonly overloaded_ms: number;
  /** Healthy processes never come near: something holds the thread. */
  readonly stuck_ms: number;
}

export const PRESSURE_LIMITS: PressureLimits = {
  window_ms: 1_000,
  overloaded_ms: 500,
  stuck_ms: 5_000,
};
const RETRY_AFTER_SECONDS = 2;

/** Refuses the requests of `app` while its process is overloaded, and reports a thread that is held. */
export async function refuseUnderPressure(
  app: FastifyInstance,
  limits: PressureLimits,
  health: Health,
): Promise<void> {
  await app.register(underPressure, {
    sampleInterval: limits.window_ms,
    maxEventLoopDelay: limits.overloaded_ms,
    pressureHandler: async () => {
      throw new ProblemError('overloaded', 'this process is overloaded', {
        retryAfterSeconds: RETRY_AFTER_SECONDS,
      });
    },
  });
  health.add('live', 'event_loop', (): CheckResult => {
    const lateMs = app.memoryUsage().eventLoopDelay;
    const detail = `timers were ${Math.round(lateMs)} ms late on average in the last ${limits.window_ms} ms`;
    return { ok: lateMs < limits.stuck_ms, detail };
  });
}
