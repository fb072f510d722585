/** `dlq list`, `dlq show`, `dlq replay`: the commands for dead letters. */
import { countOption, createLogger, SockscopeError } from '@sockscope/runtime';
import type { Command, Logger } from '@sockscope/runtime';
import { createKafkaAdmin, createKafkaProducer, readTopic } from '@sockscope/runtime/kafka';
import type { KafkaConfig, OutgoingRecord } from '@sockscope/runtime/kafka';
import { POISON_REASONS } from '../decode/decode-event.js';
import { dlqTopicNameOf } from './config.js';
import type { DlqConfig } from './config.js';
import { deadLetterOf } from './dlq-record.js';
import type { DeadLetter } from './dlq-record.js';
import { SEND_MAX_BYTES, sentBytesOf } from './publisher.js';
import { listLine, showText } from './show.js';

/** The part of the service's configuration that the commands need. */
export interface DlqCommandConfig {
  readonly kafka: KafkaConfig;
  readonly dlq: DlqConfig;
}

interface Selection {
  readonly reason?: string;
  readonly at?: string;
}

const REPLAY_SEND_RECORDS = 200;
const PLACE = /^(\d{1,9}):(\d{1,15})$/;

/** Hangs `dlq` on the service's command line. */
export function registerDlq(program: Command, config: () => DlqCommandConfig): void {
  const dlq = program.command('dlq').description('records that are not valid events');

  dlq
    .command('list')
    .description('list dead letters, oldest first within each partition')
    .option('--reason <reason>', `only these: ${POISON_REASONS.join(', ')}`)
    .option('--limit <n>', 'at most this many lines', countOption, 1_000)
    .option('--json', 'one JSON object per line, values in base64')
    .action(async (options: Selection & { limit: number; json?: boolean }) => {
      const { limit } = options;
      const logger = quietLogger();
      let count = 0;
      let shown = 0;
      await eachDeadLetter(config(), options, logger, (letter) => {
        count += 1;
        if (shown >= limit) return;
        shown += 1;
        write(options.json === true ? jsonLine(letter) : listLine(letter));
      });
      if (options.json === true) return;
      write(
        `${count} dead letter${count === 1 ? '' : 's'}${count > shown ? `, ${shown} shown` : ''}`,
      );
    });

  dlq
    .command('show <partition:offset>')
    .description('show one dead letter with its key, headers and value')
    .action(async (place: string) => {
      let found: DeadLetter | null = null;
      await eachDeadLetter(config(), { at: place }, quietLogger(), (letter) => {
        found = letter;
      });
      if (found === null)
        throw new SockscopeError('dlq_not_found', `there is no dead letter at ${place}`);
      write(showText(found));
    });

  dlq
    .command('replay')
    .description('send dead letters to the event topic again; a repeated event changes nothing')
    .option('--reason <reason>', `only these: ${POISON_REASONS.join(', ')}`)
    .option('--at <partition:offset>', 'only this one')
    .option('--dry-run', 'print the records that would be sent, and send none')
    .option(
      '--purge',
      'then delete everything that was read from the dead-letter topic; not with a selection',
    )
    .action(async (options: Selection & { dryRun?: boolean; purge?: boolean }) => {
      await replay(config(), options, quietLogger());
    });
}

async function replay(
  config: DlqCommandConfig,
  options: Selection & { dryRun?: boolean; purge?: boolean },
  logger: Logger,
): Promise<void> {
  if (options.purge === true && (options.reason !== undefined || options.at !== undefined)) {
    throw new SockscopeError(
      'dlq_purge',
      '--purge deletes everything that was read, so use it without --reason and --at',
    );
  }
  const { kafka } = config;
  const producer = createKafkaProducer(kafka, { logger, role: 'ingest-dlq-replay' });
  const signal = new AbortController().signal;
  let waiting: OutgoingRecord[] = [];
  let waitingBytes = 0;
  let sent = 0;
  let cut = 0;
  const flush = async () => {
    if (options.dryRun !== true) await producer.send(kafka.topic, waiting, signal);
    sent += waiting.length;
    waiting = [];
    waitingBytes = 0;
  };
  try {
    const ends = await eachDeadLetter(config, options, logger, async (letter) => {
      if (letter.cutFromBytes !== null) {
        cut += 1;
        write(`not sent, because only its beginning was kept: ${listLine(letter)}`);
        return;
      }
      const bytes = sentBytesOf(letter.record);
      if (waiting.length > 0 && waitingBytes + bytes > SEND_MAX_BYTES) await flush();
      waiting.push(letter.record);
      waitingBytes += bytes;
      if (waiting.length >= REPLAY_SEND_RECORDS) await flush();
    });
    await flush();
    write(
      `${sent} ${options.dryRun === true ? 'would be sent' : 'sent'} to ${kafka.topic}${cut > 0 ? `, ${cut} not` : ''}`,
    );
    if (options.purge !== true || options.dryRun === true) return;
    if (cut > 0)
      throw new SockscopeError('dlq_purge', 'nothing was deleted, because some could not be sent');
    await purge(config, ends, logger);
  } finally {
    producer.stop();
  }
}

async function purge(
  config: DlqCommandConfig,
  ends: ReadonlyMap<number, number>,
  logger: Logger,
): Promise<void> {
  const admin = createKafkaAdmin(config.kafka, { logger, role: 'ingest-dlq-replay' });
  try {
    for (const [partition, end] of ends) {
      if (end > 0) await admin.deleteRecords(dlqTopicNameOf(config), partition, BigInt(end));
    }
    write('deleted everything that was read from the dead-letter topic');
  } finally {
    await admin.stop();
  }
}

/** Reads the dead-letter topic up to its present end. Resolves to the end of each partition. */
async function eachDeadLetter(
  config: DlqCommandConfig,
  selection: Selection,
  logger: Logger,
  visit: (letter: DeadLetter) => void | Promise<void>,
): Promise<ReadonlyMap<number, number>> {
  const { reason } = selection;
  if (reason !== undefined && !POISON_REASONS.some((known) => known === reason)) {
    throw new SockscopeError('dlq_reason', `--reason is one of ${POISON_REASONS.join(', ')}`);
  }
  const place = selection.at === undefined ? null : placeOf(selection.at);
  return readTopic(
    {
      kafka: config.kafka,
      topic: dlqTopicNameOf(config),
      ...(place === null ? {} : { from: new Map([[place.partition, place.offset]]) }),
    },
    {
      async onBatch(batch) {
        while (batch.records.next()) {
          if (place !== null && batch.records.offset !== place.offset) return 'stop';
          const letter = deadLetterOf(batch.partition, batch.records.record());
          if (reason === undefined || letter.reason === reason) await visit(letter);
        }
        return place === null ? undefined : 'stop';
      },
    },
    { logger },
  );
}

function placeOf(text: string): { readonly partition: number; readonly offset: number } {
  const [, partition, offset] = PLACE.exec(text) ?? [];
  if (partition !== undefined && offset !== undefined) {
    return { partition: Number(partition), offset: Number(offset) };
  }
  throw new SockscopeError('dlq_place', `${text} is not partition:offset, such as 0:17`);
}

function jsonLine(letter: DeadLetter): string {
  const base64 = (bytes: Buffer | string | null) =>
    bytes === null ? null : Buffer.from(bytes as Buffer).toString('base64');
  const { record, ...rest } = letter;
  const headers = Object.entries(record.headers).map(([name, value]) => [name, base64(value)]);
  return JSON.stringify({
    ...rest,
    key: base64(record.key),
    value: base64(record.value),
    headers: Object.fromEntries(headers) as Record<string, string>,
  });
}

/** Standard output belongs to the command. */
function quietLogger(): Logger {
  return createLogger('ingest', { level: 'silent' });
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
