export * from './measures.js';
export * from './problem.js';
export * from './session.js';
export * from './stats.js';
export * from './top.js';
export * from './values.js';
