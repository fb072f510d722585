import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, createLogger } from '@sockscope/runtime';
import { createKafkaAdmin, kafkaConfig, readTopic } from '@sockscope/runtime/kafka';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import { registerRefusedCommands } from './commands.js';
import { refusedFiles, refusedFolder, RefusedStore } from './store.js';

const MAX_MESSAGE_BYTES = 4_096;
const logger = createLogger('test', { level: 'silent' });
const topic = `test-${randomUUID()}`;
const kafka = kafkaConfig.parse({ topic, brokers: inject('kafkaBrokers') });
const dir = mkdtempSync(join(tmpdir(), 'sockscope-refused-'));
const admin = createKafkaAdmin(kafka, { logger, role: 'test' });

beforeAll(async () => {
  await admin.ensureTopic({
    name: topic,
    partitions: 1,
    replicationFactor: null,
    settings: { 'max.message.bytes': String(MAX_MESSAGE_BYTES) },
  });
});
afterAll(async () => {
  await admin.deleteTopic(topic);
  await admin.stop();
  rmSync(dir, { recursive: true });
});

/** The output of the command. */
async function run(...args: string[]): Promise<string> {
  const out = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    const program = new Command();
    registerRefusedCommands(program, () => ({ spoolDir: dir, kafka }));
    await program.parseAsync(['node', 'proxy', 'refused', ...args]);
    return out.mock.calls.map(([text]) => String(text)).join('');
  } finally {
    out.mockRestore();
  }
}

function event(key: string, value: string) {
  const headers = { ce_id: `${key}/0` };
  return { refused_at: new Date().toISOString(), topic, reason: 'x', key, value, headers };
}

it('refused events are listed, sent again when Kafka takes them, and kept when it does not', async () => {
  const store = new RefusedStore({
    spool_dir: dir,
    proxy_id: 'p1',
    refused_max_bytes: 256 * 1024,
  });
  const large = event('large', randomBytes(MAX_MESSAGE_BYTES).toString('base64'));
  const small = event('small', '{"type":"ünïcödé"}');
  expect(store.keep([small, large])).toBeNull();
  expect(await run('list')).toMatch(/small .*\n.*large .*\n2 refused events\n/);

  await expect(run('send')).rejects.toMatchObject({ code: 'refused_again' });
  expect([...refusedFiles(refusedFolder(dir))].map(({ events }) => events)).toEqual([[large]]);
  const found: (string | undefined)[][] = [];
  await readTopic(
    { kafka, topic },
    {
      onBatch({ records }) {
        while (records.next()) {
          const { key, value, headers } = records.record();
          found.push([key, value, headers[0]?.[1]].map((each) => each?.toString()));
        }
      },
    },
    { logger },
  );
  expect(found).toContainEqual(['small', '{"type":"ünïcödé"}', 'small/0']);
  expect(found.map(([key]) => key)).not.toContain('large');

  // Nothing else is there to be accepted beside it, so it may be the topic's fault, and it stays.
  await expect(run('send')).rejects.toMatchObject({ type: 'MESSAGE_TOO_LARGE' });
  expect(await run('list')).toContain('1 refused event\n');
});
