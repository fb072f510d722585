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
import { LogReader } from './spool/log.js';
import { Slot, TableMemory } from './spool/table.js';
import { tempDir } from './testing/temp-dir.js';

/** A pipeline, and what the publishing thread sees of it. */
async function start() {
  const dir = tempDir();
  let shared = new SharedState();
  let table = new TableMemory();
  const pipeline = createEventPipeline(eventsConfig.parse({ spool_dir: dir }), {
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
  const slot = new Slot();
  const isOpen = (place: number): boolean =>
    table.slots > place && table.copy(place, slot) !== null && slot.isOpen;
  return { dir, shared, pipeline, isOpen };
}

function sessionOf(seed: number) {
  const random = seededRandom(seed);
  const log = sessionLog({ random, startMs: 1_780_000_000_000, intervals: 4, closed: true });
  const [started, end] = [log[0], log.at(-1)];
  const delta = log.find((event) => event.type === 'TrafficDelta');
  if (started === undefined || end === undefined || delta === undefined) throw new Error('empty');
  const session = { place: NO_PLACE, late: {}, started: () => partsOf(started) };
  return { session, end: partsOf(end), measurement: measurementOf(delta) };
}

it('the table has a session until its end is in the log, so that a kill does not lose both', async () => {
  const { shared, pipeline, isOpen } = await start();
  const { session, end, measurement } = sessionOf(1);
  pipeline.emit(session.started());
  pipeline.note(session, measurement);
  pipeline.swept();
  const { place } = session;
  const written = shared.get('written');
  pipeline.release(session);
  pipeline.emit(end);
  expect(isOpen(place)).toBe(true);
  pipeline.swept();
  expect(isOpen(place)).toBe(false);
  expect(shared.get('written')).toBeGreaterThan(written);
  await pipeline.stop();
});

it('the publishing thread sees no end whose session still has a report, however many end at once', async () => {
  const { dir, shared, pipeline, isOpen } = await start();
  const all = Array.from({ length: 500 }, (_, i) => sessionOf(i + 1));
  for (const { session, measurement } of all) {
    pipeline.emit(session.started());
    pipeline.report(session, measurement);
  }
  pipeline.swept();
  const places = new Map(
    all.map(({ session }) => [session.started().moment.session_id, session.place]),
  );
  for (const { session, end } of all) {
    pipeline.release(session);
    pipeline.emit(end);
  }
  const early = (): string[] => {
    const written = shared.get('written');
    const { frames } = new LogReader(dir).read(0, written, { maxFrames: 10_000, maxBytes: 1e7 });
    return frames.flatMap(({ type, sessionId }) => {
      const place = places.get(sessionId) ?? NO_PLACE;
      return type === 'SessionClosed' && isOpen(place) ? [sessionId] : [];
    });
  };
  expect(early()).toEqual([]);
  pipeline.swept();
  expect(early()).toEqual([]);
  await pipeline.stop();
});
