/**
 * Finds missing parts and permissions of the database: `clickhouse check` lists them, `/readyz` names the first.
 */
import type { Command } from 'commander';
import { z } from 'zod';
import { messageOf } from '../errors.js';
import { checkReport } from '../lifecycle/check-report.js';
import type { Finding } from '../lifecycle/check-report.js';
import { createClickHouse, quoteIdentifier } from './clickhouse.js';
import type { ClickHouse } from './clickhouse.js';
import type { ClickHouseConfig } from './config.js';
import { ClickHouseError } from './errors.js';

export interface ClickHouseCheck {
  readonly clickhouse: ClickHouseConfig;
  /** Tables that the service reads, and tables that it writes. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

const UNKNOWN_TABLE = 60;
const UNKNOWN_DATABASE = 81;

/** Adds `clickhouse check` to a service's command line. */
export function registerClickHouseCheck(program: Command, check: () => ClickHouseCheck): void {
  program
    .command('clickhouse')
    .description('ClickHouse, as this service uses it')
    .command('check')
    .description(
      "connect with the service's credentials and list everything that is missing; exit code 1 if anything is",
    )
    .action(async () => {
      checkReport(await checkClickHouse(check()));
    });
}

async function checkClickHouse(check: ClickHouseCheck): Promise<Finding[]> {
  const clickhouse = createClickHouse(check.clickhouse);
  try {
    const findings: Finding[] = [await checkVersion(clickhouse)];
    if (findings.some(({ state }) => state === 'missing')) return findings;
    for (const table of check.reads) {
      findings.push(await tryRight(`read ${table}`, () => tryReading(clickhouse, [table])));
    }
    for (const table of check.writes) {
      findings.push(await tryRight(`write ${table}`, () => tryWriting(clickhouse, table)));
    }
    return findings;
  } finally {
    await clickhouse.close();
  }
}

/** Looks at the right to read these tables and reads nothing. @throws ClickHouseError */
export async function tryReading(clickhouse: ClickHouse, tables: readonly string[]): Promise<void> {
  const each = tables.map((table) => `SELECT 1 AS one FROM ${quoteIdentifier(table)} WHERE 0`);
  await clickhouse.query({ sql: each.join(' UNION ALL '), row: z.unknown() });
}

/** Looks at the right to write a table, which needs that of reading here, and writes nothing. @throws ClickHouseError */
export async function tryWriting(clickhouse: ClickHouse, table: string): Promise<void> {
  const name = quoteIdentifier(table);
  await clickhouse.command({ sql: `INSERT INTO ${name} SELECT * FROM ${name} WHERE 0` });
}

async function checkVersion(clickhouse: ClickHouse): Promise<Finding> {
  try {
    const [found] = await clickhouse.query({
      sql: 'SELECT version() AS version',
      row: z.object({ version: z.string() }),
    });
    return { state: 'ok', text: `ClickHouse ${found?.version}` };
  } catch (error) {
    const isNoDatabase = error instanceof ClickHouseError && error.serverCode === UNKNOWN_DATABASE;
    const hint = isNoDatabase ? '. Run `migrate` of ingest' : '';
    return { state: 'missing', text: `connection: ${messageOf(error)}${hint}` };
  }
}

async function tryRight(what: string, attempt: () => Promise<void>): Promise<Finding> {
  try {
    await attempt();
    return { state: 'ok', text: what };
  } catch (error) {
    const isNoTable = error instanceof ClickHouseError && error.serverCode === UNKNOWN_TABLE;
    const hint = isNoTable ? '. Run `migrate` of ingest' : '';
    return { state: 'missing', text: `${what}: ${messageOf(error)}${hint}` };
  }
}
