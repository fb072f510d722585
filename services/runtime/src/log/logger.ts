import { once } from 'node:events';
import type { EventEmitter } from 'node:events';
import { pino } from 'pino';
import type { Logger } from 'pino';
import { z } from 'zod';

export type { Logger } from 'pino';

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

export const logConfig = z.object({
  level: z
    .enum(LOG_LEVELS)
    .default('info')
    .meta({
      env: 'LOG_LEVEL',
      description: `lowest level that is logged: ${LOG_LEVELS.join(', ')}`,
    }),
});

/** The destination of a pino logger. */
interface Destination extends EventEmitter {
  destroy(): void;
}

const STDOUT = 1;
/** More than a write to a reader takes. */
const LAST_LINE_MAX_MS = 500;

/** JSON lines on standard output. Values from clients are escaped by the JSON encoding. */
export function createLogger(service: string, config: z.infer<typeof logConfig>): Logger {
  return pino(
    {
      level: config.level,
      base: { service, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination(process.stdout.fd || STDOUT),
  );
}

/**
 * Logs the last line of a process. Resolves when it is written, when the reader is gone, or after half
 * a second. At an exit, pino repeats a failing write endlessly, so a log that does not take the line is
 * given up.
 */
export async function logLast(logger: Logger, fields: object, message: string): Promise<void> {
  if (!logger.isLevelEnabled('info')) return;
  const streams = logger as unknown as Record<symbol, Destination | undefined>;
  const destination = streams[pino.symbols.streamSym];
  logger.info(fields, message);
  if (destination === undefined) return;
  const signal = AbortSignal.timeout(LAST_LINE_MAX_MS);
  await once(destination, 'drain', { signal }).catch(() => {
    destination.destroy();
  });
}

/**
 * Limits the log lines of an event that may happen thousands of times a second. Counts suppressed
 * lines and adds their number to the next line.
 */
export function createLogLimiter(
  intervalMs: number,
  now: () => number = Date.now,
): {
  /** Returns the number of lines suppressed since the last one; null if this line is suppressed too. */
  pass(): number | null;
} {
  let nextMs = 0;
  let heldBack = 0;
  return {
    pass() {
      const ms = now();
      if (ms < nextMs) {
        heldBack += 1;
        return null;
      }
      nextMs = ms + intervalMs;
      const count = heldBack;
      heldBack = 0;
      return count;
    },
  };
}
