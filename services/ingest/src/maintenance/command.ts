import { createLogger, SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import type { IngestConfig } from '../config.js';
import { layoutOf } from '../migrations/migrator.js';
import { createProgress } from './progress.js';
import type { Stop } from './read-events.js';
import { rebuild, RebuildError } from './rebuild.js';
import { copyTopicEvents } from './topic-events.js';
import { verify } from './verify.js';
import type { Verification } from './verify-report.js';

/** Deadline of one statement of these commands, milliseconds. */
const TIMEOUT_MS = 3_600_000;
/** Between two looks at a difference: longer than ingest takes from a batch's first row to its last mark. */
const RECHECK_MS = 3_000;

interface VerifyOptions {
  readonly json?: boolean;
  /** Milliseconds since 1970. */
  readonly from?: number;
  readonly to?: number;
}

function timeOption(text: string): number {
  const ms = Date.parse(text);
  if (!Number.isNaN(ms)) return ms;
  throw new SockscopeError('verify_time', `${text} is not a time such as 2026-11-28T12:00:00Z`);
}

/** Fires with the first SIGINT or SIGTERM; a second one ends the process as usual. */
function interrupted(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => {
      controller.abort();
    });
  }
  return controller.signal;
}

/** Hangs `verify` and `rebuild` on the service's command line. */
export function registerMaintenance(program: Command, config: () => IngestConfig): void {
  program
    .command('verify')
    .description(
      'compare the topic with the tables; exit code 1 if they differ or cannot be compared',
    )
    .option('--json', 'print the result as JSON')
    .option('--from <time>', 'only sessions that began at this time or later', timeOption)
    .option('--to <time>', 'only sessions that began before this time', timeOption)
    .action(async (options: VerifyOptions) => {
      const { kafka, clickhouse: connection, tables, log } = config();
      const clickhouse = createClickHouse(connection);
      const progress = createProgress(process.stderr);
      try {
        const result = await verify(
          {
            kafka,
            retention: tables.retention,
            timeoutMs: TIMEOUT_MS,
            recheckMs: RECHECK_MS,
            range: {
              fromMs: options.from ?? Number.NEGATIVE_INFINITY,
              toMs: options.to ?? Number.POSITIVE_INFINITY,
            },
            signal: interrupted(),
          },
          { clickhouse, logger: createLogger('ingest', log), onProgress: progress.show },
        );
        progress.end();
        write(options.json === true ? JSON.stringify(result, null, 2) : describe(result));
        if (!result.isEqual || result.stops.length > 0) process.exitCode = 1;
      } finally {
        progress.end();
        await clickhouse.close();
      }
    });

  program
    .command('rebuild')
    .description('rebuild sessions and traffic beside the live tables, then exchange them')
    .option(
      '--from <source>',
      'events (the table session_events), or topic: its events are added to them first',
      'events',
    )
    .action(async (options: { readonly from: string }) => {
      if (options.from !== 'events' && options.from !== 'topic') {
        throw new RebuildError('rebuild_unsafe', '--from must be events or topic');
      }
      const { kafka, clickhouse: connection, tables, writer, log } = config();
      const logger = createLogger('ingest', log);
      const clickhouse = createClickHouse(connection);
      const progress = createProgress(process.stderr);
      const onProgress = progress.show;
      const layout = layoutOf(tables, connection.database);
      const addEvents = async () => {
        const { stops } = await copyTopicEvents(
          { kafka, timeoutMs: TIMEOUT_MS },
          { clickhouse, logger, onProgress },
        );
        for (const line of stopLines(stops)) write(line);
      };
      try {
        await rebuild(
          {
            insertTimeoutMs: writer.insert_timeout_ms,
            retention: tables.retention,
            timeoutMs: TIMEOUT_MS,
          },
          {
            clickhouse,
            layout,
            onProgress,
            ...(options.from === 'topic' ? { addEvents } : {}),
          },
        );
        progress.end();
        if (layout.kind === 'cluster') {
          write('rebuilt on this node; run it with the CLICKHOUSE_URL of every other node too');
        }
        write('rebuilt; the running ingest recomputes the sums, or run rollups');
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
    ...stopLines(result.stops),
    result.isEqual ? (result.stops.length > 0 ? 'INCOMPLETE' : 'equal') : 'DIFFERENT',
  );
  return lines.join('\n');
}

function stopLines(stops: readonly Stop[]): string[] {
  return stops.map(
    ({ partition, offset, reason }) =>
      `partition ${partition} was read up to offset ${offset} only: ${reason}`,
  );
}

function write(text: string): void {
  process.stdout.write(`${text}\n`);
}
