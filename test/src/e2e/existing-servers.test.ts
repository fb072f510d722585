import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ClickHouseServer,
  type KafkaBroker,
  startClickHouse,
  startKafka,
} from '@sockscope/local';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { getSessions } from '../support/api.js';
import { curl, hasCurl } from '../support/curl.js';
import { startOrigin } from '../support/origin.js';
import { createProductSite, isAlive, runProduct } from '../support/product.js';

const READY_TIMEOUT_MS = 90_000;
const WAIT = { timeout: 60_000, interval: 100 };

describe.skipIf(!hasCurl)('npm start with an existing Kafka and ClickHouse', () => {
  let dataDir = '';
  let kafka: KafkaBroker;
  let clickhouse: ClickHouseServer;
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'sockscope-existing-'));
    kafka = await startKafka({ dataDir: join(dataDir, 'kafka') });
    clickhouse = await startClickHouse({ dataDir: join(dataDir, 'clickhouse') });
  });
  afterAll(async () => {
    await Promise.all([kafka.stop(), clickhouse.stop()]);
    await rm(dataDir, { recursive: true, force: true });
  });

  test('they are used, none is started beside them, and they outlive the run', async () => {
    const site = await createProductSite();
    const origin = await startOrigin();
    const product = runProduct(site, {
      KAFKA_BROKERS: kafka.address,
      CLICKHOUSE_URL: clickhouse.url,
      CLICKHOUSE_DATABASE: 'elsewhere',
      KAFKA_TOPIC: 'my-events',
    });
    try {
      const line = await product.waitForLine(/^sockscope ready/, READY_TIMEOUT_MS);
      expect(line).toContain(kafka.address);
      expect(line).toContain(clickhouse.url);
      expect(await product.children()).toHaveLength(3);
      const report = await curl(site.socks, `http://127.0.0.1:${origin.port}/bytes/1000`);
      await vi.waitFor(async () => {
        const [session] = await getSessions(site.api);
        expect(session?.bytes_received).toBe(report.size_header + report.size_download);
      }, WAIT);
      // Existing ones are the product's own ports as well.
      expect((await curl(site.socks, clickhouse.url)).exitCode).toBe(97);
    } finally {
      product.pressCtrlC();
      await product.exited;
      await origin.stop();
      await site.remove();
    }
    expect(isAlive(kafka.pid)).toBe(true);
    expect(isAlive(clickhouse.pid)).toBe(true);
  });

  test('one that does not answer is named, with the variable that names it', async () => {
    const site = await createProductSite();
    const product = runProduct(site, {
      KAFKA_BROKERS: kafka.address,
      CLICKHOUSE_URL: site.clickhouse,
    });
    expect(await product.exited).toBe(1);
    expect(product.lines.join('\n')).toMatch(
      new RegExp(`ClickHouse at ${site.clickhouse} \\(from CLICKHOUSE_URL\\) does not answer`),
    );
    const other = runProduct(site, { KAFKA_BROKERS: site.kafka, CLICKHOUSE_URL: clickhouse.url });
    expect(await other.exited).toBe(1);
    expect(other.lines.join('\n')).toContain(`${site.kafka} (from KAFKA_BROKERS)`);
    await site.remove();
  });
});
