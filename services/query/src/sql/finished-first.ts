import { FINISHED_FIRST, SUM_NAMES } from '@sockscope/schemas/sums';
import type { Part } from './sums.js';

/**
 * A part without rows, before those that read sums; see FINISHED_FIRST.
 *
 * @param key an expression over a user, host and port.
 */
export function finishedFirst(key: string): Part {
  const sums = SUM_NAMES.map((name) => `toUInt64(0) AS s_${name}`);
  return {
    sql: `SELECT ${key} AS k, toInt64(0) AS slot, ${sums.join(', ')}
      FROM (SELECT '' AS user, '' AS dest_host, toUInt16(0) AS dest_port ${FINISHED_FIRST})`,
    params: {},
  };
}
