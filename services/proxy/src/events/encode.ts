import type { Counters, SessionClosed, SessionEvent, TrafficDelta } from '@sockscope/schemas';

/** Printable ASCII that JSON carries as it is. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** A text as JSON. Only names from clients and operators can need escaping. */
function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}

function quotedOrNull(text: string | null): string {
  return text === null ? 'null' : quoted(text);
}

function countersOf(c: Counters): string {
  return `{"bytes_sent":${c.bytes_sent},"bytes_received":${c.bytes_received},"packets_sent":${c.packets_sent},"packets_received":${c.packets_received}}`;
}

function intervalOf(event: TrafficDelta | SessionClosed): string {
  return `,"interval_start":"${event.interval_start}","interval_end":"${event.interval_end}","delta":${countersOf(event.delta)},"minute":${countersOf(event.minute)}`;
}

/**
 * The event as JSON, the same text as `JSON.stringify` of it with the schema's order of fields, in
 * a third of the time. The first fields stand at fixed places; envelope.ts reads them there.
 */
export function encodeEvent(event: SessionEvent): string {
  const common = `{"type":"${event.type}","schema_version":${event.schema_version},"occurred_at":"${event.occurred_at}","session_id":"${event.session_id}","seq":${event.seq},"proxy_id":${quoted(event.proxy_id)},"proxy_epoch":${event.proxy_epoch},"started_at":"${event.started_at}","user":${quoted(event.user)},"source_ip":${quoted(event.source_ip)},"source_port":${event.source_port},"dest_host":${quoted(event.dest_host)},"dest_ip":${quotedOrNull(event.dest_ip)},"dest_port":${event.dest_port},"protocol":"${event.protocol}","command":"${event.command}","auth_method":"${event.auth_method}","acl_decision":"${event.acl_decision}","acl_rule_matched":${quotedOrNull(event.acl_rule_matched)},"bytes_sent":${event.bytes_sent},"bytes_received":${event.bytes_received},"packets_sent":${event.packets_sent},"packets_received":${event.packets_received}`;
  switch (event.type) {
    case 'SessionStarted':
      return `${common}}`;
    case 'TrafficDelta':
      return `${common}${intervalOf(event)}}`;
    case 'SessionClosed':
      return `${common}${intervalOf(event)},"ended_at":"${event.ended_at}","duration_ms":${event.duration_ms},"status":"${event.status}","close_reason":"${event.close_reason}","error_code":${quotedOrNull(event.error_code)},"connect_ms":${event.connect_ms === null ? 'null' : event.connect_ms}}`;
  }
}
