export { damageBatch } from './damage.js';
import './provided-context.js';
