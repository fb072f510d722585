export { eventsConfig } from './config.js';
export { createEventPipeline } from './pipeline.js';
export type { EventPipeline } from './pipeline.js';
export type { EventSink } from './sink.js';
