export * from './addresses.js';
export * from './calendar.js';
export * from './dimensions.js';
export * from './figures.js';
export * from './levels.js';
