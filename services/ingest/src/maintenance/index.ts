export { registerMaintenance } from './command.js';
