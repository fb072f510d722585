import { once } from 'node:events';
import { expect, it, vi } from 'vitest';
import { createLogger } from '../log/logger.js';
import { createService, EXIT } from './service.js';

it('a signal does not cut short a stop that something else began; a second signal does', async () => {
  const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never);
  const stopped = new AbortController();
  const service = createService(
    { name: 'test', shutdown_deadline_ms: 60_000 },
    [['slow', { start: () => undefined, stop: () => once(stopped.signal, 'abort') }]],
    { logger: createLogger('test', { level: 'silent' }) },
  );
  await service.run();
  const end = service.shutdown('the primary asked for it');
  process.emit('SIGTERM');
  expect(exit).not.toHaveBeenCalled();
  process.emit('SIGTERM');
  expect(exit.mock.calls).toEqual([[EXIT.interrupted]]);
  stopped.abort();
  await end;
  expect(exit.mock.calls.at(-1)).toEqual([EXIT.ok]);
});
