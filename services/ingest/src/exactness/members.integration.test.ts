/** Several members of the group, and how they affect each other. */
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import '@sockscope/runtime/testing';
import { createBed } from '../testing/bed.js';
import type { Bed } from '../testing/bed.js';
import { countRows } from '../testing/table-state.js';

let bed: Bed;

beforeEach(async () => {
  bed = await createBed({
    brokers: inject('kafkaBrokers'),
    clickhouseUrl: inject('clickhouseUrl'),
    partitions: 4,
  });
});

afterEach(async () => {
  await bed.remove();
});

const ASSIGNED = 'partitions assigned';

describe('members of the group', () => {
  it('read the same partitions twice if one wakes up that was thought dead', async () => {
    await bed.produce(100);
    const zombie = bed.start({ pauseAt: 'before insert sessions' });
    await zombie.paused();
    zombie.kill('SIGSTOP');
    const successor = bed.start();
    await bed.committed();
    // Now it inserts the same rows again, and wants to commit offsets that others own.
    zombie.kill('SIGCONT');
    zombie.kill('SIGUSR2');
    await zombie.output(
      /rebalanc|partitions assigned.*partitions assigned|consumer ended|not committed/s,
    );
    await bed.produce(100);
    await bed.committed();
    expect(await zombie.stop()).toBe(0);
    expect(await successor.stop()).toBe(0);
    await bed.expectExact();
  });

  it('rebalance in the middle of an insert without losing or repeating anything', async () => {
    await bed.produce(100);
    const first = bed.start({ pauseAt: 'before insert session_events' });
    await first.paused();
    const second = bed.start();
    await second.output(ASSIGNED);
    await bed.produce(100);
    first.kill('SIGUSR2');
    await bed.committed();
    await bed.expectExact();
    expect(await first.stop()).toBe(0);
    expect(await second.stop()).toBe(0);
  });

  it('may come, go and be killed while events arrive', async () => {
    const members = [bed.start(), bed.start()];
    for (let round = 0; round < 4; round += 1) {
      await bed.produce(150);
      const leaving = members.shift();
      members.push(bed.start());
      await leaving?.output(ASSIGNED);
      await bed.produce(50);
      if (round % 2 === 0) await leaving?.end();
      else expect(await leaving?.stop()).toBe(0);
    }
    await bed.committed();
    await bed.expectExact();
  });

  it('may read the whole topic again, in another group, beside the first', async () => {
    const group = `${bed.topic}-again`;
    // A merge would make one of two before they are counted.
    await bed.clickhouse.command({ sql: 'SYSTEM STOP MERGES session_events' });
    await bed.produce(200);
    bed.start();
    await bed.committed();
    const before = await countRows(bed.clickhouse, 'session_events');
    bed.start({ env: { KAFKA_GROUP_ID: group } });
    await bed.committed(group);
    // Proof that it did arrive twice; only FINAL counts.
    expect(await countRows(bed.clickhouse, 'session_events')).toBeGreaterThan(before);
    await bed.expectExact();
    await bed.produce(50);
    await bed.committed();
    await bed.committed(group);
    await bed.expectExact();
  });
});
