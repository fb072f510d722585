import { createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouseConfig } from '@sockscope/runtime/clickhouse';
import type { Command } from '@sockscope/runtime';
import type { TablesConfig } from './config.js';
import { createMigrator } from './migrator.js';

interface MigrateOptions {
  readonly dryRun?: boolean;
  readonly status?: boolean;
}

/** The part of the service's configuration that the command needs. */
export interface MigrateConfig {
  readonly clickhouse: ClickHouseConfig;
  readonly tables: TablesConfig;
}

/** Hangs `migrate` on the service's command line. The configuration is read when the command runs. */
export function registerMigrate(program: Command, config: () => MigrateConfig): void {
  program
    .command('migrate')
    .description('bring the tables to this version and this configuration')
    .option('--dry-run', 'print the statements and change nothing')
    .option('--status', 'list the migrations; exit code 1 if one is pending')
    .action(async (options: MigrateOptions) => {
      const { clickhouse, tables } = config();
      const admin = createClickHouse({ ...clickhouse, database: 'default' });
      try {
        const migrator = createMigrator(tables, { admin, database: clickhouse.database });
        if (options.status === true) {
          const statuses = await migrator.status();
          for (const { version, name, state, applied_at } of statuses) {
            const number = String(version).padStart(4, '0');
            write(`${number}_${name}  ${state}${applied_at === null ? '' : `  ${applied_at}`}`);
          }
          if (statuses.some(({ state }) => state !== 'applied')) process.exitCode = 1;
        } else if (options.dryRun === true) {
          for (const { of, sql, note } of await migrator.plan()) {
            write(note === undefined ? `-- ${of}` : `-- ${of}: ${note}`);
            if (sql !== '') write(`${sql};`);
            write('');
          }
        } else {
          const steps = await migrator.migrate({
            onNote: write,
            onStep: ({ of, sql }) => {
              write(`${of}: ${sql.split('\n', 1)[0] ?? ''}`);
            },
          });
          write(steps.length === 0 ? 'nothing to do' : `${steps.length} statements done`);
        }
      } finally {
        await admin.close();
      }
    });
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
