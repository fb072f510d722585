/** The dead-letter commands on the real Kafka. */
import { cloudEventHeaders, dlqTopicOf } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { endsOf, seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import '@sockscope/runtime/testing';
import { createBed } from '../testing/bed.js';
import type { Bed } from '../testing/bed.js';

let bed: Bed;

beforeEach(async () => {
  bed = await createBed({
    brokers: inject('kafkaBrokers'),
    clickhouseUrl: inject('clickhouseUrl'),
  });
});

afterEach(async () => {
  await bed.remove();
});

const dlq = (...args: string[]) => bed.command('dlq', ...args);

describe('dead letters', () => {
  it('can be listed, shown, sent again once they are understood, and purged', async () => {
    const child = bed.start();
    await bed.produce(10);
    // A sender of another contract.
    const log = sessionLog({ random: seededRandom(99), startMs: Date.now() - 3_600_000 });
    const asRecord = (event: object, i: number) => ({
      key: `n${i}`,
      value: JSON.stringify(event),
      headers: { h: 'x' },
    });
    await bed.produceRecords(log.map((event, i) => asRecord({ ...event, schema_version: 99 }, i)));
    await bed.produceRecords([{ key: 'evil', value: '\u001b[2Jnot json', headers: {} }]);
    await bed.committed();

    const all = await dlq('list');
    expect(all).toMatch(new RegExp(`^${log.length + 1} dead letters$`, 'm'));
    expect(all).not.toContain('\u001b');
    const invalid = await dlq('list', '--reason', 'invalid', '--limit', '1');
    expect(invalid.trimEnd().split('\n')).toHaveLength(2);
    const place = /^(\d+:\d+) {2}not_json/m.exec(all)?.[1] ?? '';
    const shown = await dlq('show', place);
    expect(shown).toContain('key          evil');
    expect(shown).toContain('value        \\u{1b}[2Jnot json');
    expect(shown).toContain(`came from    ${bed.topic}, partition`);
    await expect(dlq('show', '0:999999')).rejects.toThrow(/there is no dead letter at 0:999999/);
    await expect(dlq('list', '--reason', 'nonsense')).rejects.toThrow(/--reason is one of/);

    expect(await dlq('replay', '--dry-run')).toContain(`${log.length + 1} would be sent`);
    // Still not understood: back they come, and nothing is lost or looped.
    expect(await dlq('replay', '--purge')).toContain('deleted everything');
    await bed.committed();
    expect(await dlq('list')).toMatch(new RegExp(`^${log.length + 1} dead letters$`, 'm'));
    await bed.expectExact();
    expect(await child.stop()).toBe(0);
  });

  it.each(['real', 'assumed'] as const)(
    'leave the real end of a session in the tables when the %s one is sent again after the other',
    async (late) => {
      const log = sessionLog({
        random: seededRandom(7),
        startMs: Date.now() - 3_600_000,
        closed: true,
        closeReason: 'client_eof',
      });
      const { real, assumed } = endsOf(log);
      const record = (event: SessionEvent) => ({
        key: event.session_id,
        value: JSON.stringify(event),
        headers: cloudEventHeaders(event),
      });
      const [first, second] = late === 'real' ? [assumed, real] : [real, assumed];
      const child = bed.start();
      await bed.produceRecords([...log.slice(0, -1), first].map(record));
      await bed.produceRecords([record(second)], dlqTopicOf(bed.topic));
      await bed.committed();
      expect(await dlq('replay')).toMatch(/^1 sent/m);
      await bed.committed();
      const rows = await bed.clickhouse.query({
        sql: 'SELECT close_reason, bytes_sent FROM sessions FINAL',
        row: z.object({ close_reason: z.string(), bytes_sent: z.coerce.number() }),
      });
      expect(rows).toEqual([{ close_reason: 'client_eof', bytes_sent: real.bytes_sent }]);
      await bed.expectVerified();
      expect(await child.stop()).toBe(0);
    },
    120_000,
  );

  it('get a topic from ingest, and a new one when it is deleted', async () => {
    const name = dlqTopicOf(bed.topic);
    const topicIsGone = () =>
      expect
        .poll(() => bed.admin.describeTopic(name).catch(() => []), { timeout: 60_000 })
        .toBeNull();
    await bed.admin.deleteTopic(name);
    await topicIsGone();
    const child = bed.start();
    for (const value of ['poison', 'more poison']) {
      await bed.produceRecords([{ key: 'k', value, headers: {} }]);
      await bed.produce(5);
      await bed.committed();
      expect(await bed.admin.describeTopic(name)).toHaveLength(1);
      const letters = await bed.readTopic(name);
      expect(letters.map((letter) => letter.value?.toString())).toEqual([value]);
      await bed.admin.deleteTopic(name);
      await topicIsGone();
    }
    await bed.expectExact();
    expect(await child.stop()).toBe(0);
  });

  it('are cut if their topic takes only small ones, and the events around them are not held up', async () => {
    const name = dlqTopicOf(bed.topic);
    await bed.admin.deleteTopic(name);
    await expect
      .poll(() => bed.admin.describeTopic(name).catch(() => []), { timeout: 60_000 })
      .toBeNull();
    await bed.admin.ensureTopic({
      name,
      partitions: 1,
      replicationFactor: null,
      settings: { 'max.message.bytes': '100000' },
    });
    const random = seededRandom(5);
    // Noise, so that compression does not make it small.
    const noise = Array.from({ length: 400_000 }, () =>
      String.fromCharCode(33 + Math.floor(random() * 90)),
    ).join('');
    const child = bed.start();
    await bed.produceRecords([
      { key: 'large', value: noise, headers: { big: 'header' } },
      { key: 'small', value: 'x', headers: {} },
    ]);
    await bed.produce(20);
    await bed.committed();
    await bed.expectExact();
    const letters = await bed.readTopic(name);
    const large = letters.find((letter) => letter.key?.toString() === 'large');
    expect(large?.value?.toString()).toBe(noise.slice(0, 65_536));
    expect(large?.headers.get('sockscope_dlq_cut_from_bytes')).toBe('400000');
    expect(letters.find((letter) => letter.key?.toString() === 'small')?.value?.toString()).toBe(
      'x',
    );
    expect(await dlq('replay')).toMatch(/not sent, because only its beginning was kept/);
    expect(await child.stop()).toBe(0);
  });
});
