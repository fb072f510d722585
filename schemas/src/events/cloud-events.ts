import type { SessionEvent } from './events.js';

/** Headers of a Kafka record: CloudEvents 1.0, Kafka protocol binding, binary content mode. */
export type EventHeaders = Record<string, string>;

/**
 * The CloudEvents headers of an event.
 *
 * @param traceparent W3C trace context of the request, if it has one.
 */
export function cloudEventHeaders(event: SessionEvent, traceparent?: string): EventHeaders {
  const headers: EventHeaders = {
    'content-type': 'application/json',
    ce_specversion: '1.0',
    ce_type: `sockscope.${event.type}.v${event.schema_version}`,
    ce_id: `${event.session_id}/${event.seq}`,
    ce_source: `/sockscope/proxies/${encodeURIComponent(event.proxy_id)}`,
    ce_time: event.occurred_at,
    ce_subject: event.session_id,
  };
  if (traceparent !== undefined) headers['traceparent'] = traceparent;
  return headers;
}
