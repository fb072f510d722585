import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MigrationError } from './errors.js';

/** The same folder seen from src/migrations and from dist/migrations: tsc copies no SQL. */
const FOLDER = fileURLToPath(new URL('../../migrations', import.meta.url));
const FILE_NAME = /^(\d{4})_([a-z0-9_]+)\.sql$/;

/** One numbered file. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  /** SHA-256 of the file, the same for every layout. */
  readonly checksum: string;
  /** Templates, see layout.ts. */
  readonly statements: readonly string[];
}

/**
 * The migrations in their order.
 *
 * @throws MigrationError migration_invalid if the numbers are not 1, 2, 3 and so on.
 */
export async function loadMigrations(folder: string = FOLDER): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).toSorted();
  return Promise.all(
    names.map(async (file, index) => {
      const [, version, name] = FILE_NAME.exec(file) ?? [];
      if (version === undefined || name === undefined || Number(version) !== index + 1) {
        throw new MigrationError('migration_invalid', `${file}: not named in order, NNNN_name.sql`);
      }
      const text = await readFile(join(folder, file), 'utf8');
      return {
        version: index + 1,
        name,
        checksum: createHash('sha256').update(text).digest('hex'),
        statements: splitStatements(text),
      };
    }),
  );
}

/** Statements end with `;` at the end of a line; a line that begins with `--` is a comment. */
export function splitStatements(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => !/^\s*--/.test(line))
    .join('\n')
    .split(/;[ \t]*(?:\n|$)/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}
