/**
 * The real ingest service, made to stand still at a step that its environment names, the first time it
 * comes there with something to do: until SIGUSR2, or until it is killed.
 */
import { loadConfig } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import { createGroupConsumer, createKafkaProducer } from '@sockscope/runtime/kafka';
import { ingestConfig } from '../config.js';
import { createIngest } from '../service.js';
import { PAUSE_ENV, PAUSED_LINE } from './steps.js';
import type { Step } from './steps.js';

const pauseAt = process.env[PAUSE_ENV] ?? '';
let hasPaused = false;

async function reach(step: Step): Promise<void> {
  if (step !== pauseAt || hasPaused) return;
  hasPaused = true;
  // The handler comes before the message: the test may stop and wake this process between two statements, and a
  // signal that nobody hears ends it.
  const goOn = new Promise<void>((resolve) => process.once('SIGUSR2', resolve));
  process.stdout.write(`${PAUSED_LINE}\n`);
  await goOn;
}

const service = createIngest(loadConfig(ingestConfig, process.env), {
  createClickHouse(...args) {
    const real = createClickHouse(...args);
    return {
      ...real,
      async insert(insert) {
        const table = insert.table as 'sessions';
        await reach(`before insert ${table}`);
        await real.insert(insert);
        await reach(`after insert ${table}`);
      },
    };
  },
  createKafkaProducer(...args) {
    const real = createKafkaProducer(...args);
    return {
      ...real,
      async send(topic, records, signal) {
        if (records.length === 0) return;
        await reach('before dead letters');
        await real.send(topic, records, signal);
        await reach('after dead letters');
      },
    };
  },
  createGroupConsumer(config, deps) {
    const { sink } = deps;
    let waiting: Promise<void> | null = null;
    const hold = (step: Step) => {
      const reached = reach(step);
      if (!hasPaused || pauseAt !== step) return;
      waiting = reached.then(() => {
        waiting = null;
      });
    };
    const consumer = createGroupConsumer(config, {
      ...deps,
      sink: {
        full() {
          hold('before accept');
          return waiting ?? sink.full();
        },
        accept(batch) {
          const held = sink.accept(batch);
          hold('after accept');
          return held;
        },
        unreadable: (batch) => sink.unreadable(batch),
      },
    });
    return {
      ...consumer,
      async commit(positions) {
        await reach('before commit');
        const done = await consumer.commit(positions);
        await reach('after commit');
        return done;
      },
    };
  },
});
await service.run();
