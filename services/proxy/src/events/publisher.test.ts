import { setTimeout as delay } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { Publisher } from './publisher.js';
import { ReportQueue } from './reports.js';
import { SharedState } from './shared.js';
import { SpoolError } from './spool/files.js';
import { LogReader } from './spool/log.js';
import { TableMemory } from './spool/table.js';
import { tempDir } from './testing/temp-dir.js';

/** Longer than the publisher waits for a file that cannot be read. */
const LONG_MS = 6_500;

/** A publisher whose log cannot be read: each attempt ends with this error. */
function publisherOf(code: string) {
  const refuse = (): never => {
    throw new SpoolError('cannot read', Object.assign(new Error(code), { code }));
  };
  const log = new LogReader(tempDir());
  vi.spyOn(log, 'read').mockImplementation(refuse);
  const skip = vi.spyOn(log, 'skip').mockReturnValue(100).mockImplementationOnce(refuse);
  const shared = new SharedState();
  shared.set('written', 100);
  const publisher = new Publisher(
    1,
    { maxFrames: 100, maxBytes: 1_000 },
    {
      shared,
      log,
      reports: new ReportQueue(new TableMemory()),
      send: () => Promise.resolve(true),
      onRepaid: () => undefined,
      onTrouble: () => undefined,
    },
  );
  publisher.start();
  return { publisher, skip };
}

it('a file that cannot be read for seconds is skipped, but not if the machine lacks descriptors', async () => {
  const broken = publisherOf('EIO');
  const short = publisherOf('EMFILE');
  await delay(LONG_MS);
  expect(short.skip).not.toHaveBeenCalled();
  expect(short.publisher.cursor).toBe(0);
  // The first attempt to skip it was refused too.
  await vi.waitFor(() => {
    expect(broken.publisher.cursor).toBe(100);
  });
  expect(broken.skip).toHaveBeenCalledTimes(2);
  await Promise.all([broken.publisher.stop(1), short.publisher.stop(1)]);
});
