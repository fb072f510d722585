export { cloneDatabase } from './clone-database.js';
export { damageBatch } from './damage.js';
export { abortForeignBatch, sendForeignBatch } from './foreign-producer.js';
export { restoreKafkajsDecoder } from './kafkajs-decoder.js';
import './provided-context.js';
