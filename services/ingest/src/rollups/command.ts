import { countOption, createLogger, createRegistry } from '@sockscope/runtime';
import type { Command, logConfig } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouseConfig } from '@sockscope/runtime/clickhouse';
import type { z } from 'zod';
import type { TablesConfig } from '../migrations/config.js';
import { ALL } from './choose.js';
import type { RollupsConfig } from './config.js';
import { createRollupMetrics } from './metrics.js';
import { markAllHours } from './compare.js';
import { createRollups } from './rollups.js';

/** Deadline of finding every hour that has rows. */
const MARK_TIMEOUT_MS = 3_600_000;

/** The part of the service's configuration that the command needs. */
export interface RollupsCommandConfig {
  readonly clickhouse: ClickHouseConfig;
  readonly tables: TablesConfig;
  readonly rollups: RollupsConfig;
  readonly log: z.infer<typeof logConfig>;
}

/** Hangs `rollups` on the service's command line. */
export function registerRollups(program: Command, config: () => RollupsCommandConfig): void {
  program
    .command('rollups')
    .description('sum every hour, day and week that is marked as changed')
    .option(
      '--all',
      'first mark every hour that can be summed again or has no sums; days and weeks follow. Safe while ingest runs',
    )
    .option('--threads <n>', 'threads that the database may use', countOption)
    .action(async (options: { readonly all?: boolean; readonly threads?: number }) => {
      const { clickhouse: connection, tables, rollups, log } = config();
      const clickhouse = createClickHouse(connection);
      const work = createRollups(
        { ...rollups, threads: options.threads ?? rollups.threads },
        {
          clickhouse,
          retention: tables.retention,
          share: () => ALL,
          logger: createLogger('ingest', log),
          metrics: createRollupMetrics(createRegistry('ingest')),
        },
      );
      try {
        if (options.all === true) {
          await markAllHours(clickhouse, tables.retention, MARK_TIMEOUT_MS);
        }
        await work.sumAll((done, left) => {
          process.stderr.write(`${done} of ${done + left} buckets\n`);
        });
      } finally {
        await clickhouse.close();
      }
    });
}
