import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startClickHouse, startKafka } from '@sockscope/local';
import type { TestProject } from 'vitest/node';
import '@sockscope/runtime/testing';
import { SMALL_TABLES } from './clickhouse-settings.js';
import { INGEST } from './service-process.js';

/**
 * One real Kafka and one real ClickHouse for all integration tests, on free ports and temporary
 * data. Every test uses a topic, database and group of its own. To save the start while working,
 * point SOCKSCOPE_TEST_KAFKA_BROKERS and SOCKSCOPE_TEST_CLICKHOUSE_URL at ones that run already; tests
 * that damage stored data need SOCKSCOPE_TEST_KAFKA_LOG_DIR too.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const brokers = process.env['SOCKSCOPE_TEST_KAFKA_BROKERS'];
  const url = process.env['SOCKSCOPE_TEST_CLICKHOUSE_URL'];
  const dataDir = await mkdtemp(join(tmpdir(), 'sockscope-test-'));
  const backupDir = join(dataDir, 'backups');
  const configFile = join(dataDir, 'clickhouse.xml');
  const started: { stop(): Promise<void> }[] = [];

  async function teardown(): Promise<void> {
    await Promise.all(started.map((each) => each.stop()));
    // A merge of ClickHouse may have been writing when it was stopped.
    await rm(dataDir, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }

  async function kafkaBrokers(): Promise<string[]> {
    if (brokers !== undefined) {
      project.provide('kafkaLogDir', process.env['SOCKSCOPE_TEST_KAFKA_LOG_DIR'] ?? '');
      return brokers.split(',');
    }
    const kafka = await startKafka({
      dataDir: join(dataDir, 'kafka'),
      // Tests kill members of groups; the default lets nobody take over within 6 s.
      properties: { 'group.min.session.timeout.ms': '1000' },
    });
    started.push(kafka);
    project.provide('kafkaLogDir', join(dataDir, 'kafka', 'data'));
    return [kafka.address];
  }

  async function clickhouseUrl(): Promise<string> {
    project.provide('clickhouseBackupDir', url === undefined ? backupDir : '');
    if (url !== undefined) {
      project.provide('clickhousePid', 0);
      await migrate(url);
      return url;
    }
    await writeFile(
      configFile,
      `<clickhouse><backups><allowed_path>${backupDir}</allowed_path></backups></clickhouse>`,
    );
    const clickhouse = await startClickHouse({
      dataDir: join(dataDir, 'clickhouse'),
      configFile,
      settings: SMALL_TABLES,
    });
    started.push(clickhouse);
    project.provide('clickhousePid', clickhouse.pid);
    await migrate(clickhouse.url);
    return clickhouse.url;
  }

  /** Makes the tables once; tests copy them. */
  async function migrate(clickhouse: string): Promise<void> {
    const database = `template_${randomBytes(5).toString('hex')}`;
    await promisify(execFile)(process.execPath, [INGEST, 'migrate'], {
      env: {
        PATH: process.env['PATH'],
        CLICKHOUSE_URL: clickhouse,
        CLICKHOUSE_DATABASE: database,
        // Events of tests are of any time, and must not expire.
        RETENTION_TRAFFIC: '0',
        RETENTION_EVENTS: '0',
        RETENTION_PAIRS_HOURS: '0',
      },
    });
    project.provide('clickhouseTemplate', database);
  }

  const results = await Promise.allSettled([
    kafkaBrokers().then((each) => {
      project.provide('kafkaBrokers', each);
    }),
    clickhouseUrl().then((each) => {
      project.provide('clickhouseUrl', each);
    }),
  ]);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await teardown();
    throw failed.reason;
  }
  return teardown;
}
