export { lostConfig } from './config.js';
export { createLostSessions } from './lost.js';
export { createLostMetrics } from './metrics.js';
