/** `refused list` and `refused send`: what to do with events that Kafka has refused. */
import { createLogger, SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { createKafkaProducer, RecordsRefusedError } from '@sockscope/runtime/kafka';
import type { KafkaConfig, OutgoingRecord } from '@sockscope/runtime/kafka';
import { leaveRefused, outgoingOf, refusedFiles, refusedFolder } from './store.js';
import type { RefusedEvent } from './store.js';

export interface RefusedCommandsConfig {
  readonly spoolDir: string;
  readonly kafka: KafkaConfig;
}

/** Hangs `refused` on the proxy's command line. It may run beside the proxy. */
export function registerRefusedCommands(
  program: Command,
  config: () => RefusedCommandsConfig,
): void {
  const refused = program.command('refused').description('events that Kafka refused');

  refused
    .command('list')
    .description('list refused events, oldest first')
    .option('--json', 'one JSON object per line, with the complete event')
    .action(({ json }: { json?: boolean }) => {
      let count = 0;
      for (const { events, broken, path } of refusedFiles(refusedFolder(config().spoolDir))) {
        for (const event of events) {
          count += 1;
          write(json === true ? JSON.stringify(event) : lineOf(event));
        }
        if (broken > 0) process.stderr.write(`${path}: ${broken} lines are not events\n`);
      }
      if (json !== true) write(`${count} refused event${count === 1 ? '' : 's'}`);
    });

  refused
    .command('send')
    .description(
      'send refused events to the event topic again, and delete those that Kafka accepts',
    )
    .action(async () => {
      await send(config());
    });
}

async function send({ spoolDir, kafka }: RefusedCommandsConfig): Promise<void> {
  const logger = createLogger('proxy', { level: 'silent' });
  const producer = createKafkaProducer(kafka, { logger, role: 'refused-send' });
  const signal = AbortSignal.timeout(kafka.request_timeout_ms * 2);
  let sent = 0;
  let left = 0;
  try {
    for (const { path, events, broken } of refusedFiles(refusedFolder(spoolDir))) {
      const records = new Map<OutgoingRecord, RefusedEvent>(
        events.map((event) => [outgoingOf(event), event]),
      );
      const again = await refusedOf(() => producer.send(kafka.topic, [...records.keys()], signal));
      const rest = again.flatMap((record) => records.get(record) ?? []);
      sent += events.length - rest.length;
      left += rest.length;
      if (broken > 0) process.stderr.write(`${path} stays: ${broken} lines are not events\n`);
      else leaveRefused(path, rest);
    }
  } finally {
    producer.stop();
  }
  write(`${sent} sent to ${kafka.topic}, ${left} refused again`);
  if (left > 0) throw new SockscopeError('refused_again', 'see them with: refused list');
}

/** The records of a send that were refused again. */
async function refusedOf(send_: () => Promise<void>): Promise<readonly OutgoingRecord[]> {
  try {
    await send_();
    return [];
  } catch (error) {
    if (error instanceof RecordsRefusedError) {
      return (error as RecordsRefusedError).refused;
    }
    throw error;
  }
}

function lineOf({ refused_at, value, reason, key }: RefusedEvent): string {
  return `${refused_at}  ${key ?? '-'}  ${Buffer.byteLength(value ?? '')} bytes  ${JSON.stringify(reason)}`;
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
