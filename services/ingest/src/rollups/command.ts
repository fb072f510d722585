import { createLogger, createRegistry } from '@sockscope/runtime';
import type { Command, logConfig } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouseConfig } from '@sockscope/runtime/clickhouse';
import type { z } from 'zod';
import type { TablesConfig } from '../migrations/config.js';
import type { RollupsConfig } from './config.js';
import { createRollupMetrics } from './metrics.js';
import { createRollups, markAllHours } from './rollups.js';

/** What the command needs of the service's configuration. */
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
    .description(
      'recompute the sums per hour and day that are marked as changed, until none is left',
    )
    .option(
      '--all',
      'mark every hour first whose sums can be made anew, or that has none, and make days and weeks anew from all of theirs; harmless while ingest runs',
    )
    .option('--threads <n>', 'threads that the database may use', Number)
    .action(async (options: { readonly all?: boolean; readonly threads?: number }) => {
      const { clickhouse: connection, tables, rollups, log } = config();
      const clickhouse = createClickHouse(connection);
      const work = createRollups(
        { ...rollups, threads: options.threads ?? rollups.threads },
        {
          clickhouse,
          retention: tables.retention,
          leads: () => true,
          logger: createLogger('ingest', log),
          metrics: createRollupMetrics(createRegistry('ingest')),
        },
      );
      try {
        if (options.all === true) {
          await markAllHours(clickhouse, tables.retention, rollups.timeout_ms);
        }
        let done = 0;
        for (;;) {
          const { hours, left, sessionsLeft, lostLeft } = await work.round(true);
          done += hours;
          const more = sessionsLeft > 0 ? `, ${sessionsLeft} marks of sessions to look up` : '';
          process.stderr.write(`${done} of ${done + left} hours${more}\n`);
          // What a running ingest marks meanwhile is no reason to go on: it would never end.
          if (left === 0 && sessionsLeft === 0 && !lostLeft) break;
        }
        if (options.all === true) {
          await work.remakeCoarser((days, total) => {
            process.stderr.write(`${days} of ${total} days\n`);
          });
        }
      } finally {
        await clickhouse.close();
      }
    });
}
