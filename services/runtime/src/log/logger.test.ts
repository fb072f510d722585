import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import type { Socket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { createLogger, logLast } from './logger.js';
import type { Logger } from './logger.js';

/** What an exit does with the lines that wait. */
function flushAtExit(logger: Logger): void {
  const streams = logger as unknown as Record<symbol, { flushSync(): void }>;
  streams[pino.symbols.streamSym]?.flushSync();
}

it('a log whose reader has gone does not keep the process from ending', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-log-'));
  const server = createServer({ pauseOnConnect: true }).listen(join(dir, 'log'));
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const socket = connect({ path: join(dir, 'log'), allowHalfOpen: true });
  const [reader] = await accepted;
  // The descriptor alone is used, as a program uses its standard output.
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  const logger = createLogger('test', { level: 'info' }, fd);
  await logLast(logger, {}, 'somebody may read this line');
  reader.destroy();
  await once(reader, 'close');
  // The last one waits for the first.
  logger.info('one');
  await logLast(logger, {}, 'two');
  // It would never return.
  expect(() => {
    flushAtExit(logger);
  }).not.toThrow();
  socket.destroy();
  server.close();
  rmSync(dir, { recursive: true });
});
