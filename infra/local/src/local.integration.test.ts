import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, inject, test, vi } from 'vitest';
import { createKafkaAdmin, kafkaConfig } from '@sockscope/runtime/kafka';
import { pino } from 'pino';
import { startClickHouse } from './clickhouse/clickhouse.js';
import { startKafkaCluster } from './kafka/kafka.js';
import { pickFreePort } from './net/ports.js';
import '@sockscope/runtime/testing';

let dataDir = '';
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'sockscope-local-'));
});
afterEach(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

async function sql(url: string, statement: string): Promise<string> {
  const response = await fetch(url, {
    method: 'POST',
    body: statement,
    headers: { connection: 'close' },
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text.trim();
}

test('the shared servers of this run answer', async () => {
  expect(inject('kafkaBrokers')[0]).toMatch(/^127\.0\.0\.1:\d+$/);
  expect(await sql(inject('clickhouseUrl'), 'SELECT 1')).toBe('1');
});

test('rows that ClickHouse acknowledged are there after kill -9 and a restart', async () => {
  const first = await startClickHouse({ dataDir });
  await sql(first.url, 'CREATE DATABASE d ENGINE = Atomic');
  await sql(first.url, 'CREATE TABLE d.t (n UInt64) ENGINE = MergeTree ORDER BY n');
  await sql(first.url, 'INSERT INTO d.t SELECT number FROM numbers(1000)');
  await first.kill();
  const second = await startClickHouse({ dataDir });
  try {
    expect(await sql(second.url, 'SELECT count() FROM d.t')).toBe('1000');
  } finally {
    await second.stop();
  }
});

test('a second ClickHouse on the same data is refused with its own words', async () => {
  const first = await startClickHouse({ dataDir });
  try {
    await expect(startClickHouse({ dataDir })).rejects.toThrow('already running');
  } finally {
    await first.stop();
  }
});

test('a configuration file of the caller is merged', async () => {
  const configFile = join(dataDir, 'extra.xml');
  await writeFile(configFile, '<clickhouse><macros><shard>07</shard></macros></clickhouse>');
  const server = await startClickHouse({ dataDir, configFile, offerTcp: true });
  try {
    expect(await sql(server.url, "SELECT getMacro('shard')")).toBe('07');
    expect(server.tcpPort).toBeGreaterThan(0);
  } finally {
    await server.stop();
  }
});

test('two servers with a configuration of their own are two shards', async () => {
  const ports = [await pickFreePort(), await pickFreePort()];
  const replica = (port: number): string =>
    `<shard><replica><host>127.0.0.1</host><port>${String(port)}</port></replica></shard>`;
  const configFile = join(dataDir, 'shards.xml');
  await writeFile(
    configFile,
    `<clickhouse><remote_servers><two>${ports.map(replica).join('')}</two></remote_servers></clickhouse>`,
  );
  const servers = await Promise.all(
    ports.map((tcpPort) =>
      startClickHouse({ dataDir: join(dataDir, String(tcpPort)), tcpPort, configFile }),
    ),
  );
  try {
    for (const { url } of servers) {
      await sql(url, 'CREATE DATABASE d ENGINE = Atomic');
      await sql(url, 'CREATE TABLE d.local (n UInt64) ENGINE = MergeTree ORDER BY n');
      await sql(url, 'CREATE TABLE d.everywhere AS d.local ENGINE = Distributed(two, d, local, n)');
    }
    const [first = '', second = ''] = servers.map((server) => server.url);
    await sql(
      first,
      'INSERT INTO d.everywhere SETTINGS distributed_foreground_insert = 1 SELECT number FROM numbers(100)',
    );
    expect(await sql(first, 'SELECT count() FROM d.local')).toBe('50');
    expect(await sql(second, 'SELECT count() FROM d.local')).toBe('50');
    expect(await sql(second, 'SELECT count() FROM d.everywhere')).toBe('100');
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
});

test('three brokers survive kill -9 of one, which comes back on its old address', async () => {
  const cluster = await startKafkaCluster({ dataDir });
  const admin = createKafkaAdmin(
    kafkaConfig.parse({ brokers: [...cluster.addresses], client_id: 'local-test' }),
    { logger: pino({ level: 'silent' }), role: 'test' },
  );
  const inSync = async (): Promise<number[]> =>
    (await admin.describeTopic('t'))?.map((partition) => partition.inSync.length) ?? [];
  try {
    await admin.ensureTopic({ name: 't', partitions: 3, replicationFactor: null });
    await vi.waitFor(
      async () => {
        expect(await inSync()).toEqual([3, 3, 3]);
      },
      { timeout: 60_000 },
    );
    await cluster.kill(2);
    expect(cluster.node(2)).toBeNull();
    await vi.waitFor(
      async () => {
        expect(await inSync()).toEqual([2, 2, 2]);
      },
      { timeout: 60_000 },
    );
    const again = await cluster.restart(2);
    expect(again.address).toBe(cluster.addresses[1]);
    await vi.waitFor(
      async () => {
        expect(await inSync()).toEqual([3, 3, 3]);
      },
      { timeout: 60_000 },
    );
  } finally {
    await admin.stop();
    await cluster.stop();
  }
});

test('servers do not outlive a parent that is killed with -9', async () => {
  const library = new URL('../dist/exports.js', import.meta.url).href;
  const script = `
    const { startClickHouse, startKafka } = await import(${JSON.stringify(library)});
    const [kafka, clickhouse] = await Promise.all([
      startKafka({ dataDir: ${JSON.stringify(join(dataDir, 'kafka'))} }),
      startClickHouse({ dataDir: ${JSON.stringify(join(dataDir, 'clickhouse'))} }),
    ]);
    console.log(kafka.pid + ' ' + clickhouse.pid);
    setInterval(() => undefined, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = await new Promise<string>((resolve) => {
    parent.stdout.once('data', (chunk: Buffer) => {
      resolve(chunk.toString('utf8'));
    });
  });
  const pids = line.trim().split(' ').map(Number);
  expect(pids).toHaveLength(2);
  expect(pids.filter(isAlive)).toHaveLength(2);
  parent.kill('SIGKILL');
  await vi.waitFor(
    () => {
      expect(pids.filter(isAlive)).toEqual([]);
    },
    { timeout: 60_000, interval: 100 },
  );
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
