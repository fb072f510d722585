/** `rewind`: sets the group's offsets back, as after a restore of the database. */
import { createLogger, SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { createKafkaAdmin } from '@sockscope/runtime/kafka';
import type { KafkaAdmin, KafkaConfig } from '@sockscope/runtime/kafka';

export interface RewindConfig {
  readonly kafka: KafkaConfig;
  readonly consumer: { readonly group_id: string };
}

/** Hangs `rewind` on the service's command line. */
export function registerRewind(program: Command, config: () => RewindConfig): void {
  program
    .command('rewind')
    .description('read the topic again from a time on, as after a restore; ingest must be stopped')
    .requiredOption('--to <time>', 'a time before the backup began, such as 2026-11-28T01:50:00Z')
    .action(async ({ to }: { readonly to: string }) => {
      const toMs = Date.parse(to);
      if (Number.isNaN(toMs)) {
        throw new SockscopeError('rewind_time', `${to} is not a time such as 2026-11-28T01:50:00Z`);
      }
      const { kafka, consumer } = config();
      const logger = createLogger('ingest', { level: 'silent' });
      const admin = createKafkaAdmin(kafka, { logger, role: 'ingest-rewind' });
      try {
        for (const { partition, from, target } of await rewind(
          admin,
          { group: consumer.group_id, topic: kafka.topic },
          toMs,
        )) {
          process.stdout.write(`partition ${partition}: from offset ${from} back to ${target}\n`);
        }
      } finally {
        await admin.stop();
      }
    });
}

/**
 * Sets committed offsets back to the first record of that time or later; none is moved forward.
 * Reading records again changes nothing, so too far back is only slower.
 *
 * @throws KafkaError while the group has members.
 */
export async function rewind(
  admin: Pick<KafkaAdmin, 'groupOffsets' | 'offsetsAt' | 'setGroupOffsets'>,
  { group, topic }: { readonly group: string; readonly topic: string },
  toMs: number,
): Promise<{ partition: number; from: bigint; target: bigint }[]> {
  const committed = await admin.groupOffsets(group, topic);
  const atTime = await admin.offsetsAt(topic, toMs);
  const moves = [...committed]
    .map(([partition, from]) => ({ partition, from, target: atTime.get(partition) ?? from }))
    .filter(({ from, target }) => target < from)
    .toSorted((a, b) => a.partition - b.partition);
  await admin.setGroupOffsets(
    group,
    topic,
    new Map(moves.map(({ partition, target }) => [partition, target])),
  );
  return moves;
}
