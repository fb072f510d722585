import { join } from 'node:path';
import { pickFreePort, startKafka } from '@sockscope/local';
import { afterEach, describe, expect, test } from 'vitest';
import { createProxySite, startProxy } from '../support/proxy-process.js';
import { allPublished, metricOf, tempDir, until } from './support/site.js';
import { createTopic, foldOf, keyOf, keysOf, readTopic, unbalanced } from './support/topic.js';
import { RefusedBySocks, startWorkload } from './support/workload.js';
import type { Moved } from './support/workload.js';

const TOPIC = 'sockscope.session-events.v1';
const GENERAL_FAILURE = 1;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

describe('Kafka is away until a source has used up its share of the spool', () => {
  test('new sessions are refused, open ones continue and end, and nothing that was begun is lost', async () => {
    const { dir, remove } = await tempDir('full');
    cleanups.push(remove);
    const port = await pickFreePort();
    const start = () => startKafka({ dataDir: join(dir, 'kafka'), port });
    let broker = await start();
    cleanups.push(() => broker.kill());
    await createTopic([broker.address], TOPIC, 1);
    const site = await createProxySite(broker.address, { PROXY_SPOOL_MAX: '1MiB' });
    cleanups.push(() => site.remove());
    const proxy = await startProxy(site);
    cleanups.push(() => proxy.kill());
    const workload = await startWorkload(site.port);
    cleanups.push(() => workload.stop());

    const trickle = await workload.trickle();
    await broker.stop();
    const moved: Moved[] = [];
    let refusal: unknown = null;
    await until('a session is refused', 60_000, async () => {
      const ends = await Promise.allSettled(
        Array.from({ length: 8 }, () => workload.exchange(100, 200)),
      );
      for (const end of ends) {
        if (end.status === 'fulfilled') moved.push(end.value);
        else refusal = end.reason;
      }
      return refusal !== null;
    });
    expect(refusal).toBeInstanceOf(RefusedBySocks);
    expect(refusal).toMatchObject({ reply: GENERAL_FAILURE });
    expect(moved.length).toBeGreaterThan(100);
    // One source never fills the spool: it is refused at its share, and others continue.
    expect((await fetch(`${site.ops}/readyz`)).status).toBe(200);
    expect(await metricOf(site, 'sockscope_proxy_limit_refusals_total')).toBeGreaterThan(0);

    const before = trickle.echoed;
    await until('the open session moves on', 60_000, () => trickle.echoed > before + 2_000);

    broker = await start();
    await until('sessions are taken again', 60_000, async () => {
      try {
        moved.push(await workload.exchange(10, 20));
        return true;
      } catch {
        return false;
      }
    });
    moved.push(await trickle.end());
    await allPublished(site);
    expect(await metricOf(site, 'sockscope_proxy_events_dropped_total')).toBe(0);
    expect(await proxy.stop()).toBe(0);
    const states = foldOf(await readTopic([broker.address], TOPIC));
    expect(keysOf(states)).toEqual(
      moved.map((each) => keyOf(each.sourcePort, each.sent, each.received)).toSorted(),
    );
    expect(unbalanced(states)).toEqual([]);
  });
});
