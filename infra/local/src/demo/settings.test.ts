import { expect, test } from 'vitest';
import { demoEnvironment } from './settings.js';

test.each(['KAFKA_BROKERS', 'CLICKHOUSE_URL'])(
  'the demo refuses %s and names the way to start it without',
  (name) => {
    expect(() => demoEnvironment({ [name]: 'real.example:9092' })).toThrow(
      new RegExp(`^${name} is set.*env -u ${name} npm run demo`),
    );
  },
);

test('no other setting of the product reaches the demo, so it cannot write to a real estate', () => {
  const env = demoEnvironment({
    PATH: '/bin',
    CLICKHOUSE_FAILOVER_URLS: 'http://real.example:8123',
    KAFKA_SASL_USERNAME: 'sockscope',
    SOCKSCOPE_CONFIG: '/etc/sockscope.yaml',
    PROXY_SPOOL_DIR: '/var/lib/sockscope',
    QUERY_LISTEN: '127.0.0.1:28080',
  });
  expect(env).toMatchObject({ PATH: '/bin', QUERY_LISTEN: '127.0.0.1:28080' });
  expect(env).toMatchObject({ LOCAL_DATA_DIR: '.local/demo', PROXY_LISTEN: '127.0.0.1:11080' });
  const text = JSON.stringify(env);
  expect(text).not.toMatch(/real\.example|SASL|CONFIG|SPOOL/);
});
