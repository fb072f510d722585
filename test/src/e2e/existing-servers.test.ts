/**
 * One run of the product on servers that exist already. The commands of the guides use it too, so that
 * they need no servers of their own. SOCKSCOPE_GUIDES=full runs all of them, otherwise one of each page.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ClickHouseServer,
  type KafkaBroker,
  startClickHouse,
  startKafka,
} from '@sockscope/local';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ROOT } from '../contract/repository.js';
import { getSessions } from '../support/api.js';
import { SMALL_TABLES } from '../support/clickhouse-settings.js';
import { curl, hasCurl } from '../support/curl.js';
import { guideCommands } from '../support/guide-commands.js';
import { type Origin, startOrigin } from '../support/origin.js';
import {
  createProductSite,
  isAlive,
  type Product,
  type ProductSite,
  runProduct,
} from '../support/product.js';

const READY_TIMEOUT_MS = 240_000;
/** Kafka, ClickHouse, and then the product. */
const START_TIMEOUT_MS = 400_000;
/** About a second for each command alone, and several beside other tests. */
const GUIDES_TIMEOUT_MS = 400_000;
const OUTPUT_MAX_CHARS = 2_000;
const WAIT = { timeout: 60_000, interval: 100 };
const ALL_COMMANDS = process.env['SOCKSCOPE_GUIDES'] === 'full';

/** Exit codes of commands that cannot succeed here: nothing is at that place, the rules refuse it. */
const EXPECTED: readonly (readonly [command: RegExp, exitCode: number])[] = [
  [/ (?:dlq show|skip --partition) /, 1],
  [/ http:\/\/10\.0\.0\.1\//, 97],
];

describe.skipIf(!hasCurl)('npm start with an existing Kafka and ClickHouse', () => {
  let dataDir = '';
  let kafka: KafkaBroker;
  let clickhouse: ClickHouseServer;
  let site: ProductSite;
  let origin: Origin;
  let product: Product;
  let env: Readonly<Record<string, string>>;
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'sockscope-existing-'));
    kafka = await startKafka({ dataDir: join(dataDir, 'kafka') });
    clickhouse = await startClickHouse({
      dataDir: join(dataDir, 'clickhouse'),
      settings: SMALL_TABLES,
    });
    site = await createProductSite();
    origin = await startOrigin();
    env = {
      KAFKA_BROKERS: kafka.address,
      CLICKHOUSE_URL: clickhouse.url,
      CLICKHOUSE_DATABASE: 'elsewhere',
      KAFKA_TOPIC: 'my-events',
    };
    product = runProduct(site, env);
    await product.waitForLine(/^sockscope ready/, READY_TIMEOUT_MS);
  }, START_TIMEOUT_MS);
  afterAll(async () => {
    await stopProduct();
    await Promise.all([kafka.stop(), clickhouse.stop(), origin.stop()]);
    await site.remove();
    await rm(dataDir, { recursive: true, force: true });
  });

  test('they are used, and none is started beside them', async () => {
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
  });

  test(
    'the commands of the guides that are not marked as only checked end as the guides promise',
    async () => {
      const folder = await mkdtemp(join(dataDir, 'guides-'));
      for (const name of ['services', 'infra']) await symlink(join(ROOT, name), join(folder, name));
      const guide = await readFile(join(ROOT, 'docs/05-users-and-rules.md'), 'utf8');
      const rules = /```yaml\n(default: [^]*?)```/.exec(guide)?.[1] ?? '';
      await writeFile(join(folder, 'acl.yaml'), rules);
      const all = guideCommands().filter(
        ({ isOnlyChecked, text }) => !isOnlyChecked && isRun(text),
      );
      const firsts = [...new Map(all.toReversed().map((each) => [each.file, each])).values()];
      const commands = ALL_COMMANDS ? all : firsts;
      expect(commands.length).toBeGreaterThan(ALL_COMMANDS ? 30 : 5);
      const failed: string[] = [];
      for (const { file, line, text } of commands) {
        const expected = EXPECTED.find(([pattern]) => pattern.test(text))?.[1] ?? 0;
        const run = () => shell(asHere(text), { cwd: folder, env: { ...site.env, ...env } });
        let result = await run();
        // Until ingest has stored the last sessions, topic and tables differ.
        for (let i = 0; / verify\b/.test(text) && result.code !== 0 && i < 5; i += 1) {
          result = await run();
        }
        if (result.code !== expected) {
          failed.push(`${file}:${line}: ${text} ended with ${result.code}: ${result.output}`);
        }
      }
      expect(failed).toEqual([]);
    },
    GUIDES_TIMEOUT_MS,
  );

  async function stopProduct(): Promise<void> {
    if (isAlive(product.pid)) product.pressCtrlC();
    await product.exited;
  }

  /** A command of a guide with the addresses and ids of this run. */
  function asHere(text: string): string {
    return text
      .replace(/\bcurl /g, 'curl --fail ')
      .replace(
        /http:\/\/(?:example\.org|127\.0\.0\.1:18777)\/\S*/,
        `http://127.0.0.1:${origin.port}/bytes/1000`,
      )
      .replaceAll('127.0.0.1:1080', site.socks)
      .replaceAll('http://127.0.0.1:8080', site.api)
      .replaceAll('/tmp/', `${dataDir}/`)
      .replace(
        '4f1c9a02b7de',
        '$(node services/query/dist/main.js keys list | grep -o "[0-9a-f]\\{12\\}" | head -n 1)',
      );
  }

  test('a server that does not answer is named, with its variable', async () => {
    const other = await createProductSite();
    const withoutClickHouse = runProduct(other, {
      KAFKA_BROKERS: kafka.address,
      CLICKHOUSE_URL: other.clickhouse,
    });
    expect(await withoutClickHouse.exited).toBe(1);
    expect(withoutClickHouse.lines.join('\n')).toMatch(
      new RegExp(`ClickHouse at ${other.clickhouse} \\(from CLICKHOUSE_URL\\) does not answer`),
    );
    const withoutKafka = runProduct(other, {
      KAFKA_BROKERS: other.kafka,
      CLICKHOUSE_URL: clickhouse.url,
    });
    expect(await withoutKafka.exited).toBe(1);
    expect(withoutKafka.lines.join('\n')).toContain(`${other.kafka} (from KAFKA_BROKERS)`);
    await other.remove();
  });

  test('they outlive the run', async () => {
    await stopProduct();
    expect(isAlive(kafka.pid)).toBe(true);
    expect(isAlive(clickhouse.pid)).toBe(true);
  });
});

/** The product of this test runs already, and so does its web server. */
const isRun = (text: string) => !/^npm start$|^python3 -m http\.server /.test(text);

/** Runs a line as a person types it. A question for a password gets an answer. */
async function shell(
  text: string,
  options: { readonly cwd: string; readonly env: Readonly<Record<string, string>> },
): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn('sh', ['-c', text], {
    cwd: options.cwd,
    env: { ...process.env, PASSWORD: 'correct horse', ...options.env },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-OUTPUT_MAX_CHARS);
    });
  }
  child.stdin.on('error', () => undefined);
  child.stdin.end('correct horse\n');
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}
