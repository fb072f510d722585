/** The database remembers which topic of which Kafka cluster it holds, and refuses any other. */
import { setTimeout as delay } from 'node:timers/promises';
import { SockscopeError } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';

export interface Source {
  readonly topic: string;
  /** The Kafka cluster's own id. */
  readonly clusterId: string;
}

/** Two processes that begin at once with different sources read the same answer after this time. */
const SETTLE_MS = 1_000;

/**
 * Remembers the source if the database knows none yet.
 *
 * @throws SockscopeError `source_differs` if it knows another one.
 */
export async function claimSource(
  clickhouse: ClickHouse,
  source: Source,
  signal: AbortSignal,
): Promise<void> {
  const known = await readSource(clickhouse, signal);
  if (known === null) {
    await refuseOtherTopics(clickhouse, source, signal);
    await storeSource(clickhouse, source);
    await delay(SETTLE_MS, undefined, { signal });
  }
  const now = known ?? (await readSource(clickhouse, signal));
  if (now === null || (now.topic === source.topic && now.clusterId === source.clusterId)) return;
  throw differs(clickhouse, source, `topic ${now.topic} of Kafka cluster ${now.clusterId}`);
}

export async function readSource(
  clickhouse: ClickHouse,
  signal?: AbortSignal,
): Promise<Source | null> {
  const [row] = await clickhouse.query({
    sql: 'SELECT topic, cluster_id FROM ingest_source FINAL WHERE id = 1',
    row: z.object({ topic: z.string(), cluster_id: z.string() }),
    signal,
  });
  return row === undefined ? null : { topic: row.topic, clusterId: row.cluster_id };
}

export async function storeSource(clickhouse: ClickHouse, source: Source): Promise<void> {
  await clickhouse.insert({
    table: 'ingest_source',
    columns: ['id', 'topic', 'cluster_id'],
    format: 'JSONCompactEachRow',
    bytes: [Buffer.from(JSON.stringify([1, source.topic, source.clusterId]))],
  });
}

/** A database of an earlier version knows its topics by their watermarks. */
async function refuseOtherTopics(
  clickhouse: ClickHouse,
  source: Source,
  signal: AbortSignal,
): Promise<void> {
  const [other] = await clickhouse.query({
    sql: `SELECT topic FROM ingest_watermarks FINAL WHERE topic != {topic:String} LIMIT 1`,
    params: { topic: source.topic },
    row: z.object({ topic: z.string() }),
    signal,
  });
  if (other !== undefined) throw differs(clickhouse, source, `topic ${other.topic}`);
}

function differs({ database }: ClickHouse, source: Source, known: string): SockscopeError {
  return new SockscopeError(
    'source_differs',
    `Database ${database} holds the sessions of ${known}; this ingest reads topic ${source.topic} of Kafka cluster ${source.clusterId}. Set another CLICKHOUSE_DATABASE or KAFKA_TOPIC. If the events have moved there permanently, run: ingest source --replace`,
    { retryable: false },
  );
}
