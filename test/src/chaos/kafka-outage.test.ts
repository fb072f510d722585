import { join } from 'node:path';
import { pickFreePort, startKafka } from '@sockscope/local';
import type { KafkaBroker } from '@sockscope/local';
import { afterEach, describe, expect, test } from 'vitest';
import { createProxySite, startProxy } from '../support/proxy-process.js';
import { allPublished, IS_FULL, metricOf, seeded, tempDir, until } from './support/site.js';
import { createTopic, foldOf, keyOf, keysOf, readTopic, unbalanced } from './support/topic.js';
import { keepBusy, startWorkload } from './support/workload.js';

const TOPIC = 'sockscope.session-events.v1';
const OUTAGE_MS = IS_FULL ? 60_000 : 3_000;
const SESSIONS_BETWEEN = 30;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function startLocalKafka(dir: string, port: number): Promise<KafkaBroker> {
  return startKafka({
    dataDir: join(dir, 'kafka'),
    port,
    // Comes back sooner after kill -9: it waits for its own old registration to expire.
    properties: { 'broker.session.timeout.ms': '2000', 'broker.heartbeat.interval.ms': '500' },
  });
}

describe('Kafka goes away under traffic', () => {
  test(
    'every session and byte is there after a stop and after a kill -9',
    async () => {
      const random = seeded();
      const { dir, remove } = await tempDir('outage');
      cleanups.push(remove);
      const port = await pickFreePort();
      let broker = await startLocalKafka(dir, port);
      cleanups.push(() => broker.kill());
      await createTopic([broker.address], TOPIC, 1);
      const site = await createProxySite(broker.address);
      cleanups.push(() => site.remove());
      const proxy = await startProxy(site);
      cleanups.push(() => proxy.kill());
      const workload = await startWorkload(site.port);
      cleanups.push(() => workload.stop());

      const trickles = await Promise.all(Array.from({ length: 10 }, () => workload.trickle()));
      const busy = keepBusy(workload, { atOnce: 8, random });
      for (const how of ['stop', 'kill'] as const) {
        await busy.more(SESSIONS_BETWEEN);
        await broker[how]();
        // The proof is worth something only if traffic continues without Kafka.
        await busy.more(OUTAGE_MS / 100);
        await until('Kafka has been away long enough', OUTAGE_MS + 60_000, async () => {
          const failing = await metricOf(site, 'sockscope_proxy_publish_failing_seconds');
          return failing > OUTAGE_MS / 1_000;
        });
        expect(await metricOf(site, 'sockscope_proxy_spool_bytes')).toBeGreaterThan(0);
        broker = await startLocalKafka(dir, port);
        await until('Kafka acknowledges again', 60_000, async () => {
          return (await metricOf(site, 'sockscope_proxy_publish_failing_seconds')) === 0;
        });
      }
      await busy.stop();
      const moved = [...busy.done, ...(await Promise.all(trickles.map((t) => t.end())))];
      await allPublished(site);
      expect(await metricOf(site, 'sockscope_proxy_events_dropped_total')).toBe(0);
      const superseded = await metricOf(site, 'sockscope_proxy_events_superseded_total');
      expect(await proxy.stop()).toBe(0);

      const events = await readTopic([broker.address], TOPIC);
      const states = foldOf(events);
      expect(busy.failures).toEqual([]);
      expect(keysOf(states)).toEqual(
        moved.map((each) => keyOf(each.sourcePort, each.sent, each.received)).toSorted(),
      );
      expect(unbalanced(states)).toEqual([]);
      expect(states.filter(({ row }) => row?.status !== 'closed')).toEqual([]);
      console.info(
        `${moved.length} sessions, ${events.length} events in the topic, ${superseded} superseded`,
      );
    },
    2 * OUTAGE_MS + 600_000,
  );
});
