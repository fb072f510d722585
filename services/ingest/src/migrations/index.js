export { tablesConfig } from './config.js';
export { MigrationError } from './errors.js';
export { createMigrator } from './migrator.js';
