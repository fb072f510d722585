import { type ListenAddress } from '@sockscope/runtime';
import { pickFreePort } from '../net/ports.js';
import type { LocalConfig } from './config.js';
import type { PlannedListener } from './preflight.js';

/** The address on which each part listens. */
export interface Addresses {
  readonly proxy: ListenAddress;
  readonly query: ListenAddress;
  readonly proxyOps: ListenAddress;
  readonly ingestOps: ListenAddress;
  readonly queryOps: ListenAddress;
  readonly kafkaPort: number;
  readonly kafkaControllerPort: number;
  readonly clickhousePort: number;
}

/** Returns the configured addresses, with a free port instead of each 0. */
export async function resolveAddresses(config: LocalConfig): Promise<Addresses> {
  const fill = async (address: ListenAddress): Promise<ListenAddress> =>
    address.port === 0 ? { ...address, port: await pickFreePort() } : address;
  return {
    proxy: await fill(config.proxy_listen),
    query: await fill(config.query_listen),
    proxyOps: await fill(config.proxy_ops_listen),
    ingestOps: await fill(config.ingest_ops_listen),
    queryOps: await fill(config.query_ops_listen),
    kafkaPort: config.local.kafka_port || (await pickFreePort()),
    kafkaControllerPort: config.local.kafka_controller_port || (await pickFreePort()),
    clickhousePort: config.local.clickhouse_http_port || (await pickFreePort()),
  };
}

/** Returns the listeners of this run, with the setting of each. */
export function plannedListeners(config: LocalConfig, addresses: Addresses): PlannedListener[] {
  const loopback = (port: number): ListenAddress => ({ host: '127.0.0.1', port });
  return [
    { what: 'The proxy', env: 'PROXY_LISTEN', address: addresses.proxy },
    { what: 'The API', env: 'QUERY_LISTEN', address: addresses.query },
    {
      what: "The proxy's health server",
      env: 'PROXY_OPS_LISTEN',
      address: addresses.proxyOps,
    },
    {
      what: "Ingest's health server",
      env: 'INGEST_OPS_LISTEN',
      address: addresses.ingestOps,
    },
    {
      what: "The API's health server",
      env: 'QUERY_OPS_LISTEN',
      address: addresses.queryOps,
    },
    ...(config.existingKafka
      ? []
      : [
          {
            what: 'The local Kafka',
            env: 'LOCAL_KAFKA_PORT',
            address: loopback(addresses.kafkaPort),
          },
        ]),
    ...(config.existingClickHouse
      ? []
      : [
          {
            what: 'The local ClickHouse',
            env: 'LOCAL_CLICKHOUSE_HTTP_PORT',
            address: loopback(addresses.clickhousePort),
          },
        ]),
  ];
}

/** A server that listens on every address is asked on this machine's own. */
export function reachable(address: ListenAddress): ListenAddress {
  if (address.host === '0.0.0.0') return { ...address, host: '127.0.0.1' };
  if (address.host === '::') return { ...address, host: '::1' };
  return address;
}
