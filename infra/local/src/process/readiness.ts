import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@sockscope/runtime';
import { LocalError } from '../errors.js';
import { describeExit, type OwnedProcess } from './owned.js';

const POLL_INTERVAL_MS = 50;
const TAIL_LINES = 15;

/**
 * Resolves when `probe` has succeeded once.
 *
 * @throws {LocalError} EXITED_EARLY when the process ended first, NOT_READY_IN_TIME after
 *   `timeoutMs`; both messages carry the process's last log lines.
 * @throws the signal's reason when it is aborted.
 */
export async function waitUntilReady(
  child: OwnedProcess,
  probe: () => Promise<void>,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    let reason: string;
    try {
      await probe();
      if (child.exit() === null) return;
      reason = 'it ended';
    } catch (error) {
      reason = messageOf(error);
    }
    if (child.exit() !== null) {
      const exit = await child.exited;
      throw new LocalError(
        'EXITED_EARLY',
        `${child.name} ended while it was starting (${describeExit(exit)}).${lastLines(child)}`,
        { retryable: true },
      );
    }
    if (Date.now() > deadline) {
      throw new LocalError(
        'NOT_READY_IN_TIME',
        `${child.name} was not ready within ${String(timeoutMs / 1000)} s (${reason}).${lastLines(child)}`,
        { retryable: true },
      );
    }
    await delay(POLL_INTERVAL_MS);
  }
}

/** The end of a process's log as an indented block, or nothing. */
export function lastLines(child: OwnedProcess): string {
  const lines = child.tail(TAIL_LINES);
  if (lines.length === 0) return '';
  return ` Its last log lines:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}
