import { createLogger } from '@sockscope/runtime';
import { KafkaError } from '@sockscope/runtime/kafka';
import type { TopicSpec } from '@sockscope/runtime/kafka';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createDlqTopic } from './topic.js';
import type { DlqTopic } from './topic.js';

/** Patience for steps without a promised time: the machine may be busy. */
const WAIT = { timeout: 60_000 };
const started: DlqTopic[] = [];

afterEach(() => {
  for (const each of started.splice(0)) each.stop();
});

const OURS = { brokers: ['kafka:9092'], sasl_username: 'ingest' };

function refused(what: string): KafkaError {
  return new KafkaError('kafka_auth', `${what}: Not authorized (TOPIC_AUTHORIZATION_FAILED)`, {
    retryable: true,
    type: 'TOPIC_AUTHORIZATION_FAILED',
  });
}

/** A Kafka in which somebody may create topics, or not. */
function kafka() {
  const state = { exists: false, mayLook: true, mayCreate: true, looks: 0 };
  const open = new Set<number>();
  const created: TopicSpec[] = [];
  const topic = createDlqTopic(
    { kafka: OURS, topic: 'events.dlq', partitions: 3, replication: 2, check_interval_ms: 5 },
    {
      createAdmin() {
        const id = state.looks;
        open.add(id);
        return {
          async describeTopic() {
            state.looks += 1;
            if (!state.mayLook) throw refused('describe topic events.dlq');
            return state.exists ? [] : null;
          },
          async ensureTopic(spec) {
            if (!state.mayCreate) throw refused('create topic events.dlq');
            created.push(spec);
            state.exists = true;
            return 'created';
          },
          async stop() {
            open.delete(id);
          },
        };
      },
      logger: createLogger('test', { level: 'silent' }),
    },
  );
  started.push(topic);
  return { state, created, open, topic };
}

async function isThere(topic: DlqTopic): Promise<void> {
  await vi.waitFor(() => {
    expect(topic.trouble()).toBeNull();
  }, WAIT);
}

describe('the dead-letter topic', () => {
  it("is created if it is missing, with the brokers' replication, and again if it is deleted", async () => {
    const { state, created, topic } = kafka();
    expect(topic.trouble()).not.toBeNull();
    topic.start();
    await isThere(topic);
    expect(created).toEqual([
      {
        name: 'events.dlq',
        partitions: 3,
        replicationFactor: 2,
        settings: { 'retention.ms': '-1' },
      },
    ]);
    state.exists = false;
    topic.check();
    await vi.waitFor(() => {
      expect(created).toHaveLength(2);
    }, WAIT);
  });

  it('stays unchanged if it exists, also without the right to create topics', async () => {
    const { state, created, topic } = kafka();
    state.exists = true;
    state.mayCreate = false;
    topic.start();
    await isThere(topic);
    expect([created.length, state.looks]).toEqual([0, 1]);
  });

  it('that may not be created is reported with the remedy until it exists', async () => {
    const { state, topic } = kafka();
    state.mayCreate = false;
    topic.start();
    await vi.waitFor(() => {
      expect(topic.trouble()).toBe(
        'the dead-letter topic events.dlq is missing and ingest cannot create it. Create it, or allow ingest to: create topic events.dlq: Not authorized (TOPIC_AUTHORIZATION_FAILED). Grant it with: kafka-acls --bootstrap-server kafka:9092 --add --allow-principal User:ingest --operation Create --topic events.dlq',
      );
    }, WAIT);
    state.exists = true;
    await isThere(topic);
  });

  it('that may not be looked at is waited for, and reported', async () => {
    const { state, created, topic } = kafka();
    state.mayLook = false;
    topic.start();
    await vi.waitFor(() => {
      expect(topic.trouble()).toMatch(
        /cannot find out whether .*TOPIC_AUTHORIZATION_FAILED.*User:ingest --operation Write --topic events\.dlq/,
      );
    }, WAIT);
    state.mayLook = true;
    await isThere(topic);
    expect(created).toHaveLength(1);
  });

  it('is not looked for any more after the stop', async () => {
    const { state, open, topic } = kafka();
    state.mayLook = false;
    topic.start();
    await vi.waitFor(() => {
      expect(state.looks).toBeGreaterThan(2);
    }, WAIT);
    topic.stop();
    const { looks } = state;
    topic.check();
    // Another one, which is looked for as often, shows that time has passed.
    const other = kafka();
    other.state.mayLook = false;
    other.topic.start();
    await vi.waitFor(() => {
      expect(other.state.looks).toBeGreaterThan(2);
    }, WAIT);
    other.topic.stop();
    expect([state.looks, open.size]).toEqual([looks, 0]);
  });
});
