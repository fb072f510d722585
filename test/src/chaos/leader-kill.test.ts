import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { pickFreePort, startClickHouse, startKafkaCluster } from '@sockscope/local';
import { afterEach, describe, expect, test } from 'vitest';
import { SMALL_TABLES } from '../support/clickhouse-settings.js';
import { PLANNED_PASSWORD, writePlannedUsers } from '../support/clickhouse-users.js';
import { createProxySite, startProxy } from '../support/proxy-process.js';
import { INGEST, startService } from '../support/service-process.js';
import { allPublished, IS_FULL, metricOf, seeded, tempDir, until } from './support/site.js';
import {
  createTopic,
  foldOf,
  groupMembers,
  keyOf,
  keysOf,
  readTopic,
  unbalanced,
} from './support/topic.js';
import { keepBusy, startWorkload } from './support/workload.js';

const TOPIC = 'sockscope.session-events.v1';
/** The first one is down before the proxy starts. */
const ROUNDS = IS_FULL ? 6 : 3;
const NODES = 3;
/** Sessions from one failure to the next. */
const SESSIONS_BETWEEN = 50;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A real ClickHouse with our tables, and ingest with the least rights, which `start` starts. */
async function createIngestSite(dir: string, brokers: readonly string[]) {
  const configFile = await writePlannedUsers(dir);
  const clickhouse = await startClickHouse({
    dataDir: join(dir, 'clickhouse'),
    configFile,
    settings: SMALL_TABLES,
  });
  cleanups.push(() => clickhouse.kill());
  const ops = `127.0.0.1:${await pickFreePort()}`;
  const env = {
    KAFKA_BROKERS: brokers.join(','),
    CLICKHOUSE_URL: clickhouse.url,
    CLICKHOUSE_PASSWORD: PLANNED_PASSWORD,
    INGEST_OPS_LISTEN: ops,
  };
  const as = (user: string) => ({ ...env, CLICKHOUSE_USER: user });
  execFileSync(process.execPath, [INGEST, 'migrate'], {
    env: as('sockscope_migrate'),
    stdio: 'ignore',
  });
  return {
    start: () => startService({ main: INGEST, env: as('sockscope_ingest'), ops: `http://${ops}` }),
    /** Returns ended sessions as keyOf writes them. */
    async endedSessions(): Promise<string[]> {
      const sql =
        "SELECT source_port, bytes_sent, bytes_received FROM sockscope.sessions FINAL WHERE status = 'closed'";
      const response = await fetch(clickhouse.url, { method: 'POST', body: `${sql} FORMAT TSV` });
      const lines = (await response.text()).trimEnd();
      return lines.replaceAll('\t', ' ').split('\n').toSorted();
    },
  };
}

describe('one of three brokers is killed with -9 under traffic', () => {
  test('every session and byte is in the topic and in ClickHouse afterwards, though all services began while the first was down', async () => {
    const random = seeded();
    const { dir, remove } = await tempDir('cluster');
    cleanups.push(remove);
    const cluster = await startKafkaCluster({ dataDir: dir, brokers: NODES });
    cleanups.push(() => cluster.stop());
    const ingestSite = await createIngestSite(dir, cluster.addresses);
    await createTopic(cluster.addresses, TOPIC, NODES);
    // Two brokers alone do not create topics with three replicas, the one of group offsets included.
    await createTopic(cluster.addresses, `${TOPIC}.dlq`, NODES);
    await groupMembers(cluster.addresses, 'any');
    // A client that tries only the first of the list would publish and read nothing.
    await cluster.kill(1);
    const ingest = await ingestSite.start();
    cleanups.push(() => ingest.kill());
    const site = await createProxySite(cluster.addresses.join(','));
    cleanups.push(() => site.remove());
    const proxy = await startProxy(site);
    cleanups.push(() => proxy.kill());
    const workload = await startWorkload(site.port);
    cleanups.push(() => workload.stop());

    const trickles = await Promise.all(Array.from({ length: 10 }, () => workload.trickle()));
    const busy = keepBusy(workload, { atOnce: 8, random });
    await until('sessions are stored while the first broker is down', 60_000, async () => {
      return (await ingestSite.endedSessions()).length > 50;
    });
    await cluster.restart(1);
    await busy.more(SESSIONS_BETWEEN);
    // Another one each round: every partition loses its leader at some time.
    for (let round = 1; round < ROUNDS; round += 1) {
      const victim = 1 + (round % NODES);
      await cluster.kill(victim);
      await busy.more(3 * SESSIONS_BETWEEN);
      await cluster.restart(victim);
      await busy.more(SESSIONS_BETWEEN);
    }
    await busy.stop();
    const moved = [...busy.done, ...(await Promise.all(trickles.map((t) => t.end())))];
    await allPublished(site);
    const failures = await metricOf(site, 'sockscope_proxy_publish_failures_total');
    expect(await metricOf(site, 'sockscope_proxy_events_dropped_total')).toBe(0);
    expect(await proxy.stop()).toBe(0);
    const expected = moved
      .map((each) => keyOf(each.sourcePort, each.sent, each.received))
      .toSorted();
    await until('all sessions are stored', 60_000, async () => {
      return (await ingestSite.endedSessions()).length >= expected.length;
    });
    expect(await ingestSite.endedSessions()).toEqual(expected);
    expect(await ingest.stop()).toBe(0);
    expect(ingest.log.filter((line) => line.includes('ot enough privileges'))).toEqual([]);

    const events = await readTopic(cluster.addresses, TOPIC);
    const states = foldOf(events);
    expect(busy.failures).toEqual([]);
    expect(keysOf(states)).toEqual(expected);
    expect(unbalanced(states)).toEqual([]);
    // The proof is worth something only if requests failed.
    expect(failures).toBeGreaterThan(0);
    const repeated = events.length - new Set(events.map((e) => `${e.session_id}/${e.seq}`)).size;
    console.info(
      `${ROUNDS} kills: ${moved.length} sessions, ${events.length} events in the topic, ` +
        `${repeated} of them repetitions, ${failures} failed requests`,
    );
  });
});
