export type { TableBlock } from './block.js';
