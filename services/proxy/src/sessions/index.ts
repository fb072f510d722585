export { noteAsked } from './asked.js';
export { createSessionClock } from './clock.js';
export type { SessionClock } from './clock.js';
export { trackingConfig } from './config.js';
export { createSessionMetrics } from './metrics.js';
export type { Session, SessionHeader, SessionTracker } from './session.js';
export { createSessionTracker } from './tracker.js';
