/**
 * `clickhouse check`: connects with the service's credentials and lists what the database lacks.
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
  /** Tables that the service reads, and those that it writes. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

const UNKNOWN_TABLE = 60;
const UNKNOWN_DATABASE = 81;
const ACCESS_DENIED = 497;

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

export async function checkClickHouse(check: ClickHouseCheck): Promise<Finding[]> {
  const clickhouse = createClickHouse(check.clickhouse);
  const { database, user } = check.clickhouse;
  try {
    const findings: Finding[] = [await checkVersion(clickhouse)];
    if (findings.some(({ state }) => state === 'missing')) return findings;
    const grant = (right: string, table: string) =>
      `GRANT ${right} ON ${quoteIdentifier(database)}.${quoteIdentifier(table)} TO ${quoteIdentifier(user)}`;
    for (const table of check.reads) {
      const name = quoteIdentifier(table);
      // Looks at the right and reads nothing.
      const sql = `SELECT 1 AS one FROM ${name} WHERE 0`;
      findings.push(
        await tryRight(`read ${table}`, grant('SELECT', table), () =>
          clickhouse.query({ sql, row: z.unknown() }),
        ),
      );
    }
    for (const table of check.writes) {
      const name = quoteIdentifier(table);
      const sql = `INSERT INTO ${name} SELECT * FROM ${name} WHERE 0`;
      findings.push(
        await tryRight(`write ${table}`, grant('SELECT, INSERT', table), () =>
          clickhouse.command({ sql }),
        ),
      );
    }
    return findings;
  } finally {
    await clickhouse.close();
  }
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

async function tryRight(
  what: string,
  grant: string,
  attempt: () => Promise<unknown>,
): Promise<Finding> {
  try {
    await attempt();
    return { state: 'ok', text: what };
  } catch (error) {
    const code = error instanceof ClickHouseError ? error.serverCode : null;
    const hint =
      code === ACCESS_DENIED
        ? `. Grant it with: ${grant}`
        : code === UNKNOWN_TABLE
          ? '. Run `migrate` of ingest'
          : '';
    return { state: 'missing', text: `${what}: ${messageOf(error)}${hint}` };
  }
}
