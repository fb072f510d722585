import { expect, test } from 'vitest';
import { answerSources } from './answer-sources.js';
import { configReference } from './config-reference.js';
import { kafkaSupport } from './kafka-support.js';

test('the configuration reference is what the schemas say (else: npm run generate)', async () => {
  await expect(await configReference()).toMatchFileSnapshot(
    '../../../docs/reference/configuration.md',
  );
});

test('the matrix of supported brokers is what clients compare with (else: npm run generate)', async () => {
  await expect(kafkaSupport()).toMatchFileSnapshot('../../../docs/reference/kafka-support.md');
});

test('the table of where answers come from is what the query service does (else: npm run generate)', async () => {
  await expect(await answerSources()).toMatchFileSnapshot(
    '../../../docs/reference/answer-sources.md',
  );
});
