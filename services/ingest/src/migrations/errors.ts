import { SockscopeError } from '@sockscope/runtime';

/**
 * - `migration_invalid`: a migration file is malformed; a mistake of ours.
 * - `migration_changed`: an applied file was changed; the change would be skipped silently.
 * - `migration_unknown`: the database was migrated by a newer version than this one.
 * - `migration_failed`: the database refused a statement.
 */
export type MigrationErrorCode =
  | 'migration_invalid'
  | 'migration_changed'
  | 'migration_unknown'
  | 'migration_failed';

export class MigrationError extends SockscopeError {
  declare readonly code: MigrationErrorCode;
}
