import { expect, test } from 'vitest';
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
