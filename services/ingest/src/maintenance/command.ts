import { createLogger } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import { createKafkaAdmin } from '@sockscope/runtime/kafka';
import type { IngestConfig } from '../config.js';
import { layoutOf } from '../migrations/index.js';
import { createProgress } from './progress.js';
import { rebuild, RebuildError } from './rebuild.js';
import { copyTopicEvents } from './topic-events.js';
import { verify } from './verify.js';
import type { Verification } from './verify.js';

/** Deadline of one statement of these commands, milliseconds. */
const TIMEOUT_MS = 3_600_000;

/** Hangs `verify` and `rebuild` on the service's command line. */
export function registerMaintenance(program: Command, config: () => IngestConfig): void {
  program
    .command('verify')
    .description('compare the topic with the tables; exit code 1 where they differ')
    .option('--json', 'print the result as JSON')
    .action(async (options: { readonly json?: boolean }) => {
      const { kafka, clickhouse: connection, tables, log } = config();
      const clickhouse = createClickHouse(connection);
      const progress = createProgress(process.stderr);
      try {
        const result = await verify(
          { kafka, retention: tables.retention, timeoutMs: TIMEOUT_MS },
          { clickhouse, logger: createLogger('ingest', log), onProgress: progress.show },
        );
        progress.end();
        write(options.json === true ? JSON.stringify(result, null, 2) : describe(result));
        if (!result.isEqual) process.exitCode = 1;
      } finally {
        progress.end();
        await clickhouse.close();
      }
    });

  program
    .command('rebuild')
    .description('build sessions and traffic anew beside the live tables, then exchange them')
    .option('--from <source>', 'events (the table session_events) or topic', 'events')
    .option(
      '--incomplete',
      'from a topic that no longer has its first records: keep what was older',
    )
    .action(async (options: { readonly from: string; readonly incomplete?: boolean }) => {
      if (options.from !== 'events' && options.from !== 'topic') {
        throw new RebuildError('rebuild_unsafe', '--from must be events or topic');
      }
      const { kafka, clickhouse: connection, tables, writer, log } = config();
      const logger = createLogger('ingest', log);
      const clickhouse = createClickHouse(connection);
      const progress = createProgress(process.stderr);
      const onProgress = progress.show;
      const fromTopic = async (table: string) => {
        const admin = createKafkaAdmin(kafka, { logger, role: 'rebuild' });
        try {
          const partitions = (await admin.describeTopic(kafka.topic)) ?? [];
          const isCut = partitions.some(({ earliestOffset }) => earliestOffset > 0n);
          if (isCut && options.incomplete !== true) {
            throw new RebuildError(
              'rebuild_unsafe',
              `the first records of ${kafka.topic} are gone: use --from events, or --incomplete to add what is left to the events that are stored`,
            );
          }
          if (isCut) await addStoredEvents(table);
        } finally {
          await admin.stop();
        }
        await copyTopicEvents({ kafka, timeoutMs: TIMEOUT_MS }, table, {
          clickhouse,
          logger,
          onProgress,
        });
      };
      /** Events of which the topic has no more are still in the live table. */
      const addStoredEvents = (table: string) =>
        clickhouse.command({
          sql: `INSERT INTO ${table} SELECT * FROM session_events`,
          timeoutMs: TIMEOUT_MS,
          settings: { max_partitions_per_insert_block: 0 },
        });
      try {
        await rebuild(
          {
            insertTimeoutMs: writer.insert_timeout_ms,
            eventsRetentionMs: tables.retention.session_events,
            timeoutMs: TIMEOUT_MS,
          },
          {
            clickhouse,
            layout: layoutOf(tables, connection.database),
            onProgress,
            ...(options.from === 'topic' ? { fillEvents: fromTopic } : {}),
          },
        );
        progress.end();
        write('rebuilt; the running ingest recomputes the sums, or: rollups');
      } finally {
        progress.end();
        await clickhouse.close();
      }
    });
}

function describe(result: Verification): string {
  const lines = result.partitions.map(
    ({ partition, records, poison, events, missing }) =>
      `partition ${partition}: ${records} records, ${poison} poison, ${events} different events, ${missing} missing`,
  );
  for (const { table, expected, missing, different, newer, examples } of result.tables) {
    lines.push(
      `${table}: ${expected} expected, ${missing} missing, ${different} different, ${newer} newer than the topic`,
    );
    if (examples.length > 0) lines.push(`  such as ${examples.join(', ')}`);
  }
  lines.push(
    `rollups: ${result.rollupRows} rows differ, ${result.dirtyHours} hours not recomputed yet`,
    result.isEqual ? 'equal' : 'DIFFERENT',
  );
  return lines.join('\n');
}

function write(text: string): void {
  process.stdout.write(`${text}\n`);
}
