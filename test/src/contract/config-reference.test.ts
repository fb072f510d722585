import { expect, test } from 'vitest';
import { configReference } from './config-reference.js';

test('the configuration reference is what the schemas say (else: npm run generate)', async () => {
  await expect(await configReference()).toMatchFileSnapshot(
    '../../../docs/reference/configuration.md',
  );
});
