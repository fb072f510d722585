import { readdirSync } from 'node:fs';
import { expect, it, vi } from 'vitest';
import { fold } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { partsOf } from './event-parts.js';
import { FrameWriter } from './frame.js';
import { logDir, openFolder, releaseFolder } from './spool/folder.js';
import { LogWriter } from './spool/log.js';
import { fakeKafka, run } from './testing/run-pipeline.js';
import { tempDir } from './testing/temp-dir.js';

it('events of a proxy that is gone are published to a Kafka that takes seconds to answer, too', async () => {
  const dir = tempDir();
  const gone = { spool_dir: dir, spool_max_bytes: 1_048_576, proxy_id: 'proxy-2' };
  const { dir: folder, end, table } = await openFolder(gone);
  const events = sessionLog({
    random: seededRandom(1),
    startMs: 1_780_000_000_000,
    closed: true,
  });
  const frames = new FrameWriter();
  for (const event of events) frames.add(partsOf(event));
  new LogWriter(logDir(folder), end, gone.spool_max_bytes).append(frames.take());
  table.close();
  releaseFolder(folder);
  const kafka = fakeKafka();
  kafka.state.answerMs = 2_500;
  const { pipeline } = await run(dir, kafka);
  await vi.waitFor(() => {
    expect(readdirSync(dir)).toEqual(['proxy-1']);
  }, 20_000);
  await pipeline.stop();
  expect(fold(kafka.published)).toEqual(fold(events));
});
