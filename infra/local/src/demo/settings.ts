import { LocalError } from '../errors.js';

/** Ports other than `npm start` uses, so that both run on one machine. */
const PORTS = {
  LOCAL_KAFKA_PORT: '19092',
  LOCAL_CLICKHOUSE_HTTP_PORT: '18123',
  PROXY_LISTEN: '127.0.0.1:11080',
  QUERY_LISTEN: '127.0.0.1:18080',
  PROXY_OPS_LISTEN: '127.0.0.1:19101',
  INGEST_OPS_LISTEN: '127.0.0.1:19102',
  QUERY_OPS_LISTEN: '127.0.0.1:19103',
} as const;
const DATA_DIR = '.local/demo';

/** Variables that the demo takes from the environment; it ignores all other settings of the product. */
const TAKEN = [
  ...Object.keys(PORTS),
  'LOCAL_DATA_DIR',
  'LOCAL_KAFKA_CONTROLLER_PORT',
  'LOCAL_KAFKA_HEAP_MIB',
  'LOCAL_CLICKHOUSE_MEMORY_MIB',
  'LOCAL_NICENESS',
  'LOG_LEVEL',
];
/** Names a Kafka or ClickHouse that somebody works with. */
const REFUSED = ['KAFKA_BROKERS', 'CLICKHOUSE_URL'];
const OF_THE_PRODUCT =
  /^(?:KAFKA|CLICKHOUSE|PROXY|QUERY|INGEST|RETENTION|LOCAL|LOG|SOCKSCOPE|SHUTDOWN)_/;

export const DEMO_PROXY_ID = 'gate-1';

/**
 * The environment of the whole demo. Settings of the product are not passed on, except ports and sizes:
 * one of them could lead to somebody's real Kafka or ClickHouse.
 *
 * @throws {LocalError} BAD_SETTING if KAFKA_BROKERS or CLICKHOUSE_URL is set.
 */
export function demoEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const set = REFUSED.filter((name) => (env[name] ?? '') !== '');
  if (set.length > 0) {
    throw new LocalError(
      'BAD_SETTING',
      `${set.join(' and ')} ${set.length === 1 ? 'is' : 'are'} set. The demo writes made-up sessions, so it runs only on a Kafka and a ClickHouse of its own. Start it without: env ${set.map((name) => `-u ${name}`).join(' ')} npm run demo`,
    );
  }
  const others = Object.entries(env).filter(([name]) => !OF_THE_PRODUCT.test(name));
  const taken = TAKEN.flatMap((name) => {
    const value = env[name];
    return value === undefined || value === '' ? [] : [[name, value] as const];
  });
  return {
    ...Object.fromEntries(others),
    ...PORTS,
    LOCAL_DATA_DIR: DATA_DIR,
    PROXY_ID: DEMO_PROXY_ID,
    PROXY_AUTH: 'optional',
    // The proxy has little to do here, and on a busy machine the sums of the history would wait long.
    LOCAL_NICENESS: '0',
    // Sums by user and destination of an hour need not wait long until it is quiet: it always is.
    INGEST_ROLLUP_QUIET: '5s',
    INGEST_ROLLUP_SHARE: '100',
    ...Object.fromEntries(taken),
  };
}
