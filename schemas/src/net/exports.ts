export * from './address.js';
export * from './host.js';
export * from './prefix.js';
