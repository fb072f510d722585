export { registerRollups } from './command.js';
export { rollupsConfig } from './config.js';
export { createMarkKeeper } from './marks.js';
export { createRollupMetrics } from './metrics.js';
export { createRollups, findRollupDifferences, markAllHours } from './rollups.js';
export type { Rollups } from './rollups.js';
