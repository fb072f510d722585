import { sessionStartMs } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { parseIpv6Words } from '@sockscope/schemas/net';
import {
  ACL_DECISIONS,
  AUTH_METHODS,
  CLOSE_REASONS,
  COMMANDS,
  FINAL_STATUSES,
  PROTOCOLS,
  SESSION_EVENT_TYPES,
} from './event-view.js';
import type { EventView } from './event-view.js';

/** Fills the view from an event that the schema has accepted: the slow way, for any of them. */
export function fillView(view: EventView, event: SessionEvent): void {
  const texts: Buffer[] = [];
  let length = 0;
  const place = (text: string): [start: number, length: number] => {
    const bytes = Buffer.from(text, 'utf8');
    texts.push(bytes);
    length += bytes.length;
    return [length - bytes.length, bytes.length];
  };
  const placeOrNull = (text: string | null): [number, number] =>
    text === null ? [0, -1] : place(text);

  view.type = SESSION_EVENT_TYPES.indexOf(event.type);
  view.occurredMs = Date.parse(event.occurred_at);
  const id = event.session_id.replaceAll('-', '');
  view.id0 = Number.parseInt(id.slice(0, 8), 16);
  view.id1 = Number.parseInt(id.slice(8, 16), 16);
  view.id2 = Number.parseInt(id.slice(16, 24), 16);
  view.id3 = Number.parseInt(id.slice(24, 32), 16);
  view.seq = event.seq;
  [view.proxyStart, view.proxyLength] = place(event.proxy_id);
  view.proxyEpochMs = event.proxy_epoch;
  view.startedMs = sessionStartMs(event.session_id);
  [view.userStart, view.userLength] = place(event.user);
  [view.source0, view.source1, view.source2, view.source3] = wordsOf(event.source_ip);
  view.sourcePort = event.source_port;
  [view.hostStart, view.hostLength] = place(event.dest_host);
  view.hasDestIp = event.dest_ip !== null;
  if (event.dest_ip !== null) {
    [view.dest0, view.dest1, view.dest2, view.dest3] = wordsOf(event.dest_ip);
  }
  view.destPort = event.dest_port;
  view.protocol = PROTOCOLS.indexOf(event.protocol);
  view.command = COMMANDS.indexOf(event.command);
  view.authMethod = AUTH_METHODS.indexOf(event.auth_method);
  view.aclDecision = ACL_DECISIONS.indexOf(event.acl_decision);
  [view.ruleStart, view.ruleLength] = placeOrNull(event.acl_rule_matched);
  view.bytesSent = event.bytes_sent;
  view.bytesReceived = event.bytes_received;
  view.packetsSent = event.packets_sent;
  view.packetsReceived = event.packets_received;

  const interval = event.type === 'SessionStarted' ? null : event;
  view.intervalStartMs = interval === null ? -1 : Date.parse(interval.interval_start);
  view.intervalEndMs = interval === null ? -1 : Date.parse(interval.interval_end);
  view.deltaBytesSent = interval?.delta.bytes_sent ?? 0;
  view.deltaBytesReceived = interval?.delta.bytes_received ?? 0;
  view.deltaPacketsSent = interval?.delta.packets_sent ?? 0;
  view.deltaPacketsReceived = interval?.delta.packets_received ?? 0;
  view.minuteBytesSent = interval?.minute.bytes_sent ?? 0;
  view.minuteBytesReceived = interval?.minute.bytes_received ?? 0;
  view.minutePacketsSent = interval?.minute.packets_sent ?? 0;
  view.minutePacketsReceived = interval?.minute.packets_received ?? 0;

  const closed = event.type === 'SessionClosed' ? event : null;
  view.endedMs = closed === null ? -1 : Date.parse(closed.ended_at);
  view.durationMs = closed?.duration_ms ?? -1;
  view.status = closed === null ? -1 : FINAL_STATUSES.indexOf(closed.status);
  view.closeReason = closed === null ? -1 : CLOSE_REASONS.indexOf(closed.close_reason);
  [view.errorStart, view.errorLength] = placeOrNull(closed?.error_code ?? null);
  view.connectMs = closed?.connect_ms ?? -1;
  view.text = Buffer.concat(texts, length);
}

/** The words of an address that the schema has accepted. */
function wordsOf(ip: string): readonly [number, number, number, number] {
  return parseIpv6Words(ip) ?? [0, 0, 0, 0];
}
