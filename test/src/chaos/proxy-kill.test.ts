import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pickFreePort, startKafka } from '@sockscope/local';
import { afterEach, describe, expect, test } from 'vitest';
import { createProxySite, startProxy } from '../support/proxy-process.js';
import { allPublished, metricOf, seeded, tempDir } from './support/site.js';
import { createTopic, foldOf, keyOf, keysOf, readTopic, unbalanced } from './support/topic.js';
import { keepBusy, startWorkload } from './support/workload.js';

const TOPIC = 'sockscope.session-events.v1';
/** The hand-over to the spool takes 5 ms; the rest is for a busy machine. */
const SAFE_AFTER_MS = 3_000;
/** A sweep comes every 500 ms and its counters survive; the rest is for a busy machine. */
const KNOWN_AFTER_MS = 5_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

describe('the proxy is killed with -9 under traffic', () => {
  test.each(['there', 'away'] as const)(
    'ended sessions are there, open ones are closed as crashed with their counters (Kafka is %s)',
    async (kafka) => {
      const random = seeded();
      const { dir, remove } = await tempDir('proxy-kill');
      cleanups.push(remove);
      const port = await pickFreePort();
      const start = () => startKafka({ dataDir: join(dir, 'kafka'), port });
      let broker = await start();
      cleanups.push(() => broker.kill());
      await createTopic([broker.address], TOPIC, 1);
      const site = await createProxySite(broker.address);
      cleanups.push(() => site.remove());
      const first = await startProxy(site);
      cleanups.push(() => first.kill());
      const workload = await startWorkload(site.port);
      cleanups.push(() => workload.stop());

      const trickles = await Promise.all(Array.from({ length: 10 }, () => workload.trickle()));
      const busy = keepBusy(workload, { atOnce: 8, random });
      await busy.more(20);
      if (kafka === 'away') await broker.stop();
      await busy.more(100);
      const known = new Map(trickles.map((t) => [t.sourcePort, t.echoed]));
      await delay(KNOWN_AFTER_MS);
      const killedAtMs = Date.now();
      await first.kill();
      const deadAtMs = Date.now();
      const ended = busy.done.filter((each) => each.endedAtMs < killedAtMs - SAFE_AFTER_MS);
      await busy.stop();

      if (kafka === 'away') broker = await start();
      const second = await startProxy(site);
      cleanups.push(() => second.kill());
      await allPublished(site);
      expect(await metricOf(site, 'sockscope_proxy_sessions_crashed_total')).toBeGreaterThanOrEqual(
        trickles.length,
      );
      expect(await metricOf(site, 'sockscope_proxy_spool_lost_bytes_total')).toBe(0);
      expect(await second.stop()).toBe(0);

      const states = foldOf(await readTopic([broker.address], TOPIC));
      const found = new Set(keysOf(states));
      const lost = ended.filter(
        (each) => !found.has(keyOf(each.sourcePort, each.sent, each.received)),
      );
      expect(lost).toEqual([]);
      expect(ended.length).toBeGreaterThan(50);
      expect(unbalanced(states)).toEqual([]);
      expect(states.filter(({ row }) => row?.status === 'active')).toEqual([]);
      for (const trickle of trickles) {
        const row = states.find((state) => state.row?.source_port === trickle.sourcePort)?.row;
        expect(row).toMatchObject({
          status: 'failed',
          close_reason: 'proxy_crashed',
          dest_ip: '127.0.0.1',
        });
        expect(row?.bytes_received).toBeGreaterThanOrEqual(known.get(trickle.sourcePort) ?? 0);
        const endedMs = Date.parse(row?.ended_at ?? '');
        expect(endedMs).toBeLessThanOrEqual(deadAtMs);
        expect(endedMs).toBeGreaterThan(killedAtMs - KNOWN_AFTER_MS);
      }
    },
  );
});
