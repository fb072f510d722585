import kafkajs from 'kafkajs';
import { expect, it } from 'vitest';
import { isStarting, KafkaError } from './errors.js';

it('a cluster whose controller is not among its brokers yet is starting, an unreachable one is not', () => {
  // As kafkajs and our own bootstrap name it.
  const unknown = Object.assign(new Error('Controller broker with id 1 not found'), {
    name: 'KafkaJSBrokerNotFound',
  });
  expect(isStarting(unknown)).toBe(true);
  expect(isStarting(new Error('topic', { cause: unknown }))).toBe(true);
  const away = new kafkajs.KafkaJSConnectionError('Connection refused', { code: 'ECONNREFUSED' });
  expect(isStarting(away)).toBe(false);
});

it('a temporary refusal may be repeated, a permanent one may not', () => {
  const refused = (retryable: boolean) => new KafkaError('kafka_rejected', 'no', { retryable });
  expect(isStarting(refused(true))).toBe(true);
  expect(isStarting(refused(false))).toBe(false);
});
