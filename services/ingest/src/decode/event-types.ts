import { SESSION_EVENT_TYPES } from '@sockscope/schemas';

/** `type` of a view. */
export const TYPE_STARTED = SESSION_EVENT_TYPES.indexOf('SessionStarted');
export const TYPE_CLOSED = SESSION_EVENT_TYPES.indexOf('SessionClosed');
