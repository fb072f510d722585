import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';

const PROGRAM = `
  import { createLogger, logLast } from '${new URL('../../dist/log/logger.js', import.meta.url).href}';
  const logger = createLogger('test', { level: 'info' });
  logger.info('ready');
  process.stdin.once('data', async () => {
    logger.info('one');
    await logLast(logger, {}, 'two');
    process.exit(0);
  });
`;
/** A process that hangs cannot end a test by itself. */
const HANGS_MS = 30_000;

it('a log whose reader has gone does not keep the process from ending', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', PROGRAM], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), HANGS_MS);
  await once(child.stdout, 'data');
  child.stdout.destroy();
  child.stdin.write('end');
  const exit: unknown[] = await once(child, 'exit');
  clearTimeout(timer);
  expect(exit).toEqual([0, null]);
});
