/** `refused list` and `refused send`: the commands for events that Kafka has refused. */
import { createLogger, SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { createKafkaProducer, RecordsRefusedError } from '@sockscope/runtime/kafka';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import { leaveRefused, refusedFiles, refusedFolder } from './store.js';
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
    .description('list events that Kafka refused, oldest first')
    .option('--json', 'one JSON object per line, with the complete event')
    .action(({ json = false }: { json?: boolean }) => {
      let count = 0;
      for (const { events, broken, path } of refusedFiles(refusedFolder(config().spoolDir))) {
        count += events.length;
        for (const event of events) write(json ? JSON.stringify(event) : lineOf(event));
        if (broken > 0) process.stderr.write(`${path}: ${broken} lines are not events\n`);
      }
      if (!json) write(`${count} refused event${count === 1 ? '' : 's'}`);
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
      let rest: RefusedEvent[] = [];
      await producer.send(kafka.topic, events, signal).catch((error: unknown) => {
        if (!(error instanceof RecordsRefusedError)) throw error;
        rest = events.filter((event) => (error as RecordsRefusedError).refused.includes(event));
      });
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

function lineOf({ refused_at, value, reason, key }: RefusedEvent): string {
  return `${refused_at}  ${key ?? '-'}  ${Buffer.byteLength(value ?? '')} bytes  ${JSON.stringify(reason)}`;
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
