/** `forget`: removes the history of one user, or of one source address. */
import { createHash, randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import { createLogger, createRegistry, SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { createKafkaAdmin } from '@sockscope/runtime/kafka';
import { toTimestamp } from '@sockscope/schemas';
import { canonicalIp } from '@sockscope/schemas/net';
import type { IngestConfig } from '../config.js';
import { dlqTopicNameOf } from '../dlq/config.js';
import type { Layout } from '../migrations/layout.js';
import { layoutOf } from '../migrations/migrator.js';
import { ALL } from '../rollups/choose.js';
import { createRollupMetrics } from '../rollups/metrics.js';
import { createRollups } from '../rollups/rollups.js';
import { findPerson, forgetPerson } from './forget.js';
import type { Found } from './forget.js';
import type { Person } from './forgotten.js';

/** Deadline of one statement: a deletion rewrites every part that has rows of the person. */
const TIMEOUT_MS = 6 * 3_600_000;

interface ForgetOptions {
  readonly user?: string;
  readonly sourceIp?: string;
  readonly dryRun?: boolean;
  readonly node?: readonly string[];
}

/** Hangs `forget` on the service's command line. */
export function registerForget(program: Command, config: () => IngestConfig): void {
  program
    .command('forget')
    .description('remove the history of one user or source address from all tables and sums')
    .option('--user <name>', 'the user whose sessions are removed')
    .option('--source-ip <address>', 'the source address whose sessions are removed')
    .option('--dry-run', 'count the rows and change nothing')
    .option(
      '--node <url...>',
      'with CLICKHOUSE_CLUSTER_DDL=each_node: every node other than CLICKHOUSE_URL',
    )
    .action(async (options: ForgetOptions) => {
      const person = personOf(options);
      const { kafka, clickhouse: connection, tables, writer, rollups, log, ...rest } = config();
      const logger = createLogger('ingest', log);
      const clickhouse = createClickHouse(connection);
      const admin = createKafkaAdmin(kafka, { logger, role: 'ingest-forget' });
      const layout = layoutOf(tables, connection.database);
      const others = othersOf(options, layout).map((url) =>
        createClickHouse({ ...connection, url }),
      );
      try {
        const limits = {
          insertTimeoutMs: writer.insert_timeout_ms,
          timeoutMs: TIMEOUT_MS,
          topicRetentionMs: await admin.retentionMs(kafka.topic),
        };
        const topics = [kafka.topic, dlqTopicNameOf({ kafka, ...rest })];
        if (options.dryRun === true) {
          for (const line of linesOf(await findPerson(person, limits, { clickhouse }), topics)) {
            write(line);
          }
          write('nothing was changed');
          return;
        }
        const work = createRollups(rollups, {
          clickhouse,
          retention: tables.retention,
          share: () => ALL,
          logger,
          metrics: createRollupMetrics(createRegistry('ingest')),
        });
        const found = await audited(clickhouse, person, () =>
          forgetPerson(person, limits, {
            clickhouse,
            others,
            layout,
            onProgress: (what) => process.stderr.write(`${what}\n`),
            sumAll: () => work.sumAll(),
          }),
        );
        for (const line of linesOf(found, topics)) write(line);
        write('forgotten');
      } finally {
        await admin.stop();
        await Promise.all([clickhouse, ...others].map((node) => node.close()));
      }
    });
}

/** The other nodes, if deletions do not reach them by themselves. @throws SockscopeError forget_option */
function othersOf({ node = [], dryRun }: ForgetOptions, layout: Layout): readonly string[] {
  const isNeeded = layout.kind === 'cluster' && !layout.onCluster;
  if (!isNeeded && node.length > 0) {
    throw new SockscopeError(
      'forget_option',
      '--node is for CLICKHOUSE_CLUSTER_DDL=each_node only; leave it out: all nodes are reached without it',
    );
  }
  if (isNeeded && node.length === 0 && dryRun !== true) {
    throw new SockscopeError(
      'forget_option',
      'with CLICKHOUSE_CLUSTER_DDL=each_node, name every node other than CLICKHOUSE_URL by --node, such as --node http://ch2:8123 http://ch3:8123',
    );
  }
  return node;
}

function personOf({ user, sourceIp }: ForgetOptions): Person {
  if ((user === undefined) === (sourceIp === undefined)) {
    throw new SockscopeError('forget_option', 'give either --user or --source-ip');
  }
  if (user !== undefined) {
    if (user === '') throw new SockscopeError('forget_option', '--user must not be empty');
    return { kind: 'user', value: user };
  }
  const value = canonicalIp(sourceIp ?? '');
  if (value === null) {
    throw new SockscopeError('forget_option', `--source-ip must be an address, not ${sourceIp}`);
  }
  return { kind: 'source_ip', value };
}

function linesOf({ rows, hours, topicUntilMs }: Found, topics: readonly string[]): string[] {
  const until =
    topicUntilMs === null ? 'permanently' : `until ${new Date(topicUntilMs).toISOString()}`;
  return [
    ...Object.entries(rows).map(([table, n]) => `${table}: ${n} rows`),
    `${hours.length} hours of sums`,
    `Kafka keeps the events ${until} (${topics[0]}). They do not come back: ingest, verify and rebuild pass over them.`,
    `Dead letters in ${topics[1]} are not searched.`,
  ];
}

/** Writes the beginning and the end into the audit log, with a hash instead of the name. */
async function audited(
  clickhouse: ClickHouse,
  person: Person,
  work: () => Promise<Found>,
): Promise<Found> {
  const id = randomUUID();
  const begunMs = Date.now();
  const entry = async (outcome: 'started' | 'finished' | 'failed', rows: number) => {
    const sha256 = createHash('sha256').update(person.value).digest('hex');
    const cells = {
      export_id: id,
      exported_at: toTimestamp(begunMs),
      principal: 'command',
      remote_ip: '',
      route: 'forget',
      format: '',
      filters: JSON.stringify({ kind: person.kind, sha256, by: userInfo().username }),
      rows,
      outcome,
      ended_at: outcome === 'started' ? null : toTimestamp(Date.now()),
    };
    await clickhouse.insert({
      table: 'export_audit',
      columns: Object.keys(cells),
      format: 'JSONCompactEachRow',
      bytes: [Buffer.from(`${JSON.stringify(Object.values(cells))}\n`)],
      settings: { date_time_input_format: 'best_effort' },
    });
  };
  await entry('started', 0);
  try {
    const found = await work();
    const rows = Object.values(found.rows).reduce((sum, n) => sum + n, 0);
    await entry('finished', rows);
    return found;
  } catch (error) {
    await entry('failed', 0).catch(() => undefined);
    throw error;
  }
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
