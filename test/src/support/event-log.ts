import { randomUUID } from 'node:crypto';
import { sessionEvent } from '@sockscope/schemas';
import type { SessionClosed, SessionEvent, SessionStarted } from '@sockscope/schemas';
import { restoreKafkajsDecoder } from '@sockscope/runtime/testing';
import kafkajs from 'kafkajs';
import { inject } from 'vitest';
import './kafkajs-codecs.js';

const WAIT_MS = 60_000;

/** A topic in the real Kafka of the integration tests and everything that proxies write to it. */
export interface EventLog {
  /** host:port */
  readonly kafka: string;
  /** Settings of a proxy that is to write to it. */
  readonly env: Readonly<Record<string, string>>;
  readonly events: readonly SessionEvent[];
  started(): SessionStarted[];
  closed(): SessionClosed[];
  /** Resolves with the first matching event, also if it is there already. */
  waitFor<E extends SessionEvent>(
    what: string,
    fits: (event: SessionEvent) => event is E,
  ): Promise<E>;
  /** The end of the first session that fits. */
  waitForClosed(what: string, fits: (event: SessionClosed) => boolean): Promise<SessionClosed>;
  stop(): Promise<void>;
}

export async function startEventLog(): Promise<EventLog> {
  const brokers = inject('kafkaBrokers');
  const topic = `events-${randomUUID()}`;
  const client = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING });
  const admin = client.admin();
  await admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic, numPartitions: 3 }],
  });
  await admin.disconnect();

  restoreKafkajsDecoder();
  const events: SessionEvent[] = [];
  const listeners = new Set<() => void>();
  const consumer = client.consumer({ groupId: randomUUID(), maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage({ message }) {
      events.push(sessionEvent.parse(JSON.parse(message.value?.toString('utf8') ?? 'null')));
      for (const listener of listeners) listener();
      return Promise.resolve();
    },
  });

  function waitFor<E extends SessionEvent>(
    what: string,
    fits: (event: SessionEvent) => event is E,
  ): Promise<E> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        listeners.delete(look);
        const seen = events.map((e) => `${e.type} ${e.dest_host}:${e.dest_port} ${e.user}`);
        reject(new Error(`no event: ${what}; seen:\n${seen.join('\n')}`));
      }, WAIT_MS);
      function look(): void {
        const found = events.find(fits);
        if (found === undefined) return;
        clearTimeout(timer);
        listeners.delete(look);
        resolve(found);
      }
      listeners.add(look);
      look();
    });
  }

  return {
    kafka: brokers.join(','),
    env: { KAFKA_TOPIC: topic },
    events,
    started: () => events.filter((event) => event.type === 'SessionStarted'),
    closed: () => events.filter((event) => event.type === 'SessionClosed'),
    waitFor,
    waitForClosed: (what, fits) =>
      waitFor(
        what,
        (event): event is SessionClosed => event.type === 'SessionClosed' && fits(event),
      ),
    async stop() {
      await consumer.disconnect();
    },
  };
}
