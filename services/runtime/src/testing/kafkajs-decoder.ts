import { createRequire } from 'node:module';

/**
 * Gives kafkajs's own consumers their decoder back, which consumers of ours replace in the whole process:
 * see kafka/fetch-response.ts. Files of tests share a process.
 */
export function restoreKafkajsDecoder(): void {
  const require = createRequire(import.meta.url);
  // kafkajs loads it again for its next fetch.
  delete require.cache[require.resolve('kafkajs/src/protocol/requests/fetch/v11/response')];
}
