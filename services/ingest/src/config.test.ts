import { ConfigError, loadConfig } from '@sockscope/runtime';
import { describe, expect, it } from 'vitest';
import { ingestConfig } from './config.js';

describe('the configuration of ingest', () => {
  it('is whole without any setting', () => {
    expect(() => loadConfig(ingestConfig, {})).not.toThrow();
  });

  it('refuses an insert that may last longer than the group waits for its member', () => {
    const env = { KAFKA_SESSION_TIMEOUT: '10s', INGEST_INSERT_TIMEOUT: '10s' };
    expect(() => loadConfig(ingestConfig, env)).toThrow(ConfigError);
    expect(() => loadConfig(ingestConfig, env)).toThrow(
      /must be below consumer.session_timeout_ms/,
    );
    expect(() =>
      loadConfig(ingestConfig, { ...env, INGEST_INSERT_TIMEOUT: '9999ms' }),
    ).not.toThrow();
  });

  it('refuses Replicated tables unless it is confirmed that nobody has run them', () => {
    const env = { CLICKHOUSE_CLUSTER: 'c', CLICKHOUSE_CLUSTER_REPLICATED: 'true' };
    expect(() => loadConfig(ingestConfig, env)).toThrow(/was never run/);
    const confirmed = { ...env, CLICKHOUSE_CLUSTER_REPLICATED_NOT_RUN_YET: 'true' };
    expect(loadConfig(ingestConfig, confirmed).tables.replicated).toBe(true);
  });
});
