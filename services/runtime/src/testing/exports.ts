export { cloneDatabase } from './clone-database.js';
export { damageBatch } from './damage.js';
export { abortForeignBatch, sendForeignBatch } from './foreign-producer.js';
import './provided-context.js';
