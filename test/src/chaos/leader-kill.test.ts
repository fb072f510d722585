import { setTimeout as delay } from 'node:timers/promises';
import { startKafkaCluster } from '@sockscope/local';
import { afterEach, describe, expect, test } from 'vitest';
import { createProxySite, startProxy } from '../support/proxy-process.js';
import { allPublished, IS_FULL, metricOf, seeded, tempDir, until } from './support/site.js';
import { createTopic, foldOf, keyOf, keysOf, readTopic, unbalanced } from './support/topic.js';
import { keepBusy, startWorkload } from './support/workload.js';

const TOPIC = 'sockscope.session-events.v1';
/** The first one is down before the proxy starts. */
const ROUNDS = IS_FULL ? 6 : 3;
const NODES = 3;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

describe('one of three brokers is killed with -9 under traffic', () => {
  test('every session and byte is there afterwards, with replication 3', async () => {
    const random = seeded();
    const { dir, remove } = await tempDir('cluster');
    cleanups.push(remove);
    const cluster = await startKafkaCluster({ dataDir: dir, brokers: NODES });
    cleanups.push(() => cluster.stop());
    await createTopic(cluster.addresses, TOPIC, NODES);
    // A client that tries only the first of the list would publish nothing.
    await cluster.kill(1);
    const site = await createProxySite(cluster.addresses.join(','));
    cleanups.push(() => site.remove());
    const proxy = await startProxy(site);
    cleanups.push(() => proxy.kill());
    const workload = await startWorkload(site.port);
    cleanups.push(() => workload.stop());

    const trickles = await Promise.all(Array.from({ length: 10 }, () => workload.trickle()));
    const busy = keepBusy(workload, { atOnce: 8, random });
    await until('events are published while the first broker is down', 30_000, async () => {
      return (await metricOf(site, 'sockscope_proxy_events_published_total')) > 100;
    });
    await cluster.restart(1);
    await delay(1_500);
    // Another one each round: every partition loses its leader at some time.
    for (let round = 1; round < ROUNDS; round += 1) {
      const victim = 1 + (round % NODES);
      await cluster.kill(victim);
      await delay(4_000);
      await cluster.restart(victim);
      await delay(2_000);
    }
    await busy.stop();
    const moved = [...busy.done, ...(await Promise.all(trickles.map((t) => t.end())))];
    await allPublished(site);
    const failures = await metricOf(site, 'sockscope_proxy_publish_failures_total');
    expect(await metricOf(site, 'sockscope_proxy_events_dropped_total')).toBe(0);
    expect(await proxy.stop()).toBe(0);

    const events = await readTopic(cluster.addresses, TOPIC);
    const states = foldOf(events);
    expect(busy.failures).toEqual([]);
    expect(keysOf(states)).toEqual(
      moved.map((each) => keyOf(each.sourcePort, each.sent, each.received)).toSorted(),
    );
    expect(unbalanced(states)).toEqual([]);
    // The proof is worth something only where requests failed.
    expect(failures).toBeGreaterThan(0);
    const repeated = events.length - new Set(events.map((e) => `${e.session_id}/${e.seq}`)).size;
    console.info(
      `${ROUNDS} kills: ${moved.length} sessions, ${events.length} events in the topic, ` +
        `${repeated} of them repetitions, ${failures} failed requests`,
    );
  }, 240_000);
});
