/** `skip`: passes over the records at which a partition waits. */
import { SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, ClickHouseConfig } from '@sockscope/runtime/clickhouse';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import { z } from 'zod';
import { readSkips, storeSkip } from './skips.js';

/** The part of the service's configuration that the command needs. */
export interface SkipConfig {
  readonly kafka: KafkaConfig;
  readonly clickhouse: ClickHouseConfig;
}

interface SkipOptions {
  readonly partition?: string;
  readonly offset?: string;
  readonly to?: string;
  readonly list?: boolean;
  readonly force?: boolean;
}

/** Hangs `skip` on the service's command line. */
export function registerSkip(program: Command, config: () => SkipConfig): void {
  program
    .command('skip')
    .description(
      'skip the records at which a partition waits; the running ingest applies it in seconds',
    )
    .option('--list', 'list waiting partitions and decisions')
    .option('--partition <n>', 'partition that waits')
    .option('--offset <n>', 'offset at which the partition waits')
    .option('--to <n>', 'skip everything unreadable before this offset')
    .option('--force', 'record the decision even if the partition does not wait there')
    .action(async (options: SkipOptions) => {
      const { kafka, clickhouse: connection } = config();
      const clickhouse = createClickHouse(connection);
      try {
        if (options.list === true) await list(clickhouse, kafka.topic);
        else await skip(clickhouse, kafka.topic, options);
      } finally {
        await clickhouse.close();
      }
    });
}

async function waitsOf(clickhouse: ClickHouse, topic: string) {
  return clickhouse.query({
    sql: `SELECT partition, offset, kind, reason FROM ingest_waits FINAL
      WHERE topic = {topic:String} AND is_waiting = 1 ORDER BY partition`,
    params: { topic },
    row: z.object({ partition: z.int(), offset: int64, kind: z.string(), reason: z.string() }),
  });
}

async function list(clickhouse: ClickHouse, topic: string): Promise<void> {
  const waits = await waitsOf(clickhouse, topic);
  for (const { partition, offset, reason } of waits) {
    write(`partition ${partition} waits at offset ${offset}: ${reason}`);
  }
  const skips = await readSkips(clickhouse, topic);
  for (const { partition, from, to } of skips) {
    write(`partition ${partition}: offsets ${from} to ${to - 1} are skipped`);
  }
  if (waits.length + skips.length === 0) write('no partition waits, and nothing is skipped');
}

async function skip(clickhouse: ClickHouse, topic: string, options: SkipOptions): Promise<void> {
  const partition = wholeNumber(options.partition, '--partition');
  const from = wholeNumber(options.offset, '--offset');
  const to = options.to === undefined ? from + 1 : wholeNumber(options.to, '--to');
  if (to <= from) throw new SockscopeError('skip_option', '--to must be above --offset');
  const waits = await waitsOf(clickhouse, topic);
  const wait = waits.find((each) => each.partition === partition);
  if (wait?.offset !== from && options.force !== true) {
    const where = wait === undefined ? 'does not wait' : `waits at offset ${wait.offset}`;
    throw new SockscopeError(
      'skip_not_waiting',
      `partition ${partition} of ${topic} ${where}. Nothing was decided; see skip --list, or add --force`,
    );
  }
  await storeSkip(clickhouse, topic, { partition, from, to });
  write(`partition ${partition}: ingest skips the records from offset ${from} in a few seconds`);
  write('Readable records go to the dead-letter topic; see dlq list.');
}

function wholeNumber(text: string | undefined, option: string): number {
  if (text === undefined) throw new SockscopeError('skip_option', `${option} is missing`);
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new SockscopeError('skip_option', `${option} must be a whole number, not ${text}`);
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
