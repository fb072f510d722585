import { expect, it } from 'vitest';
import { createLogger, Registry } from '@sockscope/runtime';
import { kafkaConfig } from '@sockscope/runtime/kafka';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { eventsConfig } from './config.js';
import { partsOf } from './event-parts.js';
import { measurementOf } from './measurement.js';
import { createEventPipeline } from './pipeline.js';
import { SharedState } from './shared.js';
import { NO_PLACE } from './sink.js';
import { Slot, TableMemory } from './spool/table.js';
import { tempDir } from './testing/temp-dir.js';

it('the table has a session until its end is in the log, so that a kill does not lose both', async () => {
  const dir = tempDir();
  const config = eventsConfig.parse({ spool_dir: dir });
  let shared = new SharedState();
  let table = new TableMemory();
  const pipeline = createEventPipeline(config, {
    kafka: kafkaConfig.parse({}),
    logger: createLogger('test', { level: 'silent' }),
    registry: new Registry(),
    proxyId: 'proxy-1',
    startBackend: ({ shared: state, table: memory }, receive) => {
      shared = new SharedState(state);
      table = new TableMemory(memory);
      setImmediate(receive, { kind: 'ready', dir, position: 0 });
      return {
        post: ({ kind }) => {
          if (kind === 'stop') receive({ kind: 'stopped' });
        },
        terminate: () => undefined,
      };
    },
  });
  await pipeline.start();
  const log = sessionLog({ random: seededRandom(1), startMs: 1_780_000_000_000 });
  const [started, end] = [log[0], log.at(-1)];
  const delta = log.find((event) => event.type === 'TrafficDelta');
  if (started === undefined || end === undefined || delta === undefined) throw new Error('empty');
  const session = { place: NO_PLACE, header: {}, started: () => partsOf(started) };
  const slot = new Slot();
  const isOpen = (): boolean => table.slots > 0 && table.copy(0, slot) !== null && slot.isOpen;
  pipeline.emit(partsOf(started));
  pipeline.note(session, measurementOf(delta));
  pipeline.swept();
  const written = shared.get('written');
  pipeline.release(session);
  pipeline.emit(partsOf(end));
  expect(isOpen()).toBe(true);
  pipeline.swept();
  expect(isOpen()).toBe(false);
  expect(shared.get('written')).toBeGreaterThan(written);
  await pipeline.stop();
});
