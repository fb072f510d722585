import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pickFreePort, startKafka } from '@sockscope/local';
import { createLogger } from '@sockscope/runtime';
import { createKafkaAdmin, kafkaConfig } from '@sockscope/runtime/kafka';
import type { Peer } from './peer.js';
import { startProxyProcess } from './process.js';

const PARTITIONS = 12;
/** Niceness of Kafka: on one machine the proxy goes first, as with `npm start`. */
const KAFKA_NICENESS = 10;
const RULES =
  'default: block\nrules:\n  - { name: bench, action: allow, destinations: [127.0.0.0/8], allow_into: [loopback] }\n';

/** A real Kafka for the tracked peers. */
export interface BenchKafka {
  readonly address: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export async function startBenchKafka(): Promise<BenchKafka> {
  const dataDir = mkdtempSync(join(tmpdir(), 'sockscope-bench-kafka-'));
  const broker = await startKafka({ dataDir, niceness: KAFKA_NICENESS });
  const config = kafkaConfig.parse({ brokers: [broker.address] });
  const admin = createKafkaAdmin(config, {
    logger: createLogger('bench', { level: 'silent' }),
    role: 'bench',
  });
  await admin.ensureTopic({ name: config.topic, partitions: PARTITIONS, replicationFactor: null });
  await admin.stop();
  return {
    address: broker.address,
    pid: broker.pid,
    async stop() {
      await broker.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** This product: the whole proxy with its ACL, and tracking into Kafka if there is one. */
export function sockscope(
  relay: 'splice' | 'stream',
  kafka: BenchKafka | null,
  nodeArgs: readonly string[] = [],
): Peer {
  return {
    name: `sockscope-${relay}${kafka === null ? '-untracked' : ''}`,
    missing: () =>
      relay === 'splice' && process.platform !== 'linux' ? 'the splice relay needs Linux' : null,
    async start() {
      const [port, ops] = [await pickFreePort(), await pickFreePort()];
      const dir = mkdtempSync(join(tmpdir(), 'sockscope-bench-'));
      const rules = join(dir, 'acl.yaml');
      writeFileSync(rules, RULES);
      const entry = kafka === null ? 'untracked' : 'main';
      const script = fileURLToPath(import.meta.resolve(`@sockscope/proxy/${entry}`));
      const running = await startProxyProcess(process.execPath, [...nodeArgs, script], port, {
        PROXY_LISTEN: `127.0.0.1:${port}`,
        PROXY_OPS_LISTEN: `127.0.0.1:${ops}`,
        PROXY_ACL_FILE: rules,
        PROXY_RELAY: relay,
        PROXY_SPOOL_DIR: join(dir, 'spool'),
        PROXY_ID: `bench-${port}`,
        PROXY_DRAIN_TIMEOUT: '1s',
        // All clients of a benchmark have one address.
        PROXY_MAX_SESSIONS_PER_SOURCE: '0',
        LOG_LEVEL: 'warn',
        // As in production: docs/13-sizing.md.
        NODE_OPTIONS: '--max-semi-space-size=64',
        ...(kafka === null ? {} : { KAFKA_BROKERS: kafka.address }),
      });
      return {
        ...running,
        async stop() {
          await running.stop();
          rmSync(dir, { recursive: true, force: true });
        },
      };
    },
  };
}
