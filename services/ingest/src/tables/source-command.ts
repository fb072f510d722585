/** `source`: which topic the database holds, and the decision that it has moved. */
import { createLogger } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouseConfig } from '@sockscope/runtime/clickhouse';
import { createKafkaAdmin } from '@sockscope/runtime/kafka';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import { readSource, storeSource } from './source.js';

export interface SourceConfig {
  readonly kafka: KafkaConfig;
  readonly clickhouse: ClickHouseConfig;
}

/** Hangs `source` on the service's command line. */
export function registerSource(program: Command, config: () => SourceConfig): void {
  program
    .command('source')
    .description('show which topic of which Kafka cluster the database holds')
    .option('--replace', 'accept the topic and the cluster of this configuration from now on')
    .action(async (options: { readonly replace?: boolean }) => {
      const { kafka, clickhouse: connection } = config();
      const clickhouse = createClickHouse(connection);
      try {
        if (options.replace === true) {
          const logger = createLogger('ingest', { level: 'silent' });
          const admin = createKafkaAdmin(kafka, { logger, role: 'ingest-source' });
          try {
            const clusterId = await admin.clusterId();
            await storeSource(clickhouse, { topic: kafka.topic, clusterId });
          } finally {
            await admin.stop();
          }
        }
        const source = await readSource(clickhouse);
        process.stdout.write(
          source === null
            ? 'none yet\n'
            : `topic ${source.topic} of Kafka cluster ${source.clusterId}\n`,
        );
      } finally {
        await clickhouse.close();
      }
    });
}
