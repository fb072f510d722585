export { tablesConfig } from './config.js';
export type { TablesConfig } from './config.js';
export { registerMigrate } from './command.js';
export { createMigrator, layoutOf } from './migrator.js';
