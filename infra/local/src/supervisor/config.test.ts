import { describe, expect, test } from 'vitest';
import { loadLocalConfig } from './config.js';

describe('the settings of npm start', () => {
  test('a stop waits for each service as long as the deadline of that service', () => {
    const config = loadLocalConfig({
      PROXY_SHUTDOWN_DEADLINE: '5m',
      INGEST_SHUTDOWN_DEADLINE: '2m',
      SHUTDOWN_DEADLINE: '1m',
    });
    expect(config).toMatchObject({
      proxy_deadline_ms: 300_000,
      ingest_deadline_ms: 120_000,
      query_deadline_ms: 60_000,
    });
  });
});
