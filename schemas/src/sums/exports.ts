export * from './addresses.js';
export * from './calendar.js';
export * from './dimensions.js';
export * from './ended-fields.js';
export * from './figures.js';
export * from './levels.js';
export * from './long-sessions.js';
