/**
 * Compares the topic with the tables. The topic's records are put into a table as they are, and the
 * expected rows of the other tables are computed from their JSON by SQL: by other code than the one that
 * folded them.
 *
 * Ingest may run meanwhile. Then the parts of a batch, or of a round of the rollups, are seen one
 * before the other; so a difference counts only if it is found repeatedly. Sums are compared only
 * for hours that were not marked as changed meanwhile.
 */
import { compareSums } from './verify-sums.js';
import { compareTables } from './verify-tables.js';
import { createTopicTable, loadTopic } from './verify-topic.js';
import { isSame, isWhole } from './verify-report.js';
import type { Comparing, Verification, VerifyConfig, VerifyDeps } from './verify-report.js';

/** Joins beyond memory go to disk. */
const SETTINGS = { join_algorithm: 'grace_hash', join_use_nulls: 1 };

/** Reads the whole topic and compares. Changes nothing but a table of its own, which it drops. */
export async function verify(config: VerifyConfig, deps: VerifyDeps): Promise<Verification> {
  const { clickhouse, onProgress } = deps;
  const topic = await createTopicTable(clickhouse);
  const call = { timeoutMs: config.timeoutMs, settings: SETTINGS, signal: config.signal };
  const comparing: Comparing = { clickhouse, config, topic, call };
  try {
    const { stops, ...counts } = await loadTopic(config, topic, deps);
    onProgress(0, 1, 'comparing');
    const { partitions, tables } = await compareTables(comparing, counts);
    const sums = await compareSums(comparing);
    const isEqual = partitions.every(isWhole) && tables.every(isSame) && sums.rollupRows === 0;
    return { isEqual, stops, partitions, tables, ...sums };
  } finally {
    await clickhouse.command({ sql: `DROP TABLE ${topic} SYNC` });
  }
}
