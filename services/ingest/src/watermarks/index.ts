export { createWatermarkKeeper } from './watermarks.js';
