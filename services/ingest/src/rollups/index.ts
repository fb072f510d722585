export { registerRollups } from './command.js';
export { rollupsConfig } from './config.js';
export { createMarkKeeper } from './marks.js';
export { createRollupMetrics } from './metrics.js';
export { createRollups, findRollupDifferences, markAllHours, weekOf } from './rollups.js';
export type { Rollups, SourceRetention } from './rollups.js';
