import {
  ACL_DECISIONS,
  AUTH_METHODS,
  CLOSE_REASONS,
  COMMANDS,
  PROTOCOLS,
  SESSION_EVENT_TYPES,
} from '@sockscope/schemas';

/** Position of a value in the schema's own list of them. */
type Index = number;

/**
 * A valid event, flat, in one object that is used again for every record: what the fold and the
 * encoder need, as numbers and as places in `text`. Texts are UTF-8 without JSON's escapes.
 *
 * Absent times and counts are -1; so is the length of an absent text.
 */
export class EventView {
  /** Where the texts stand. Valid until the next event. */
  text: Uint8Array = new Uint8Array(0);

  /** Of SESSION_EVENT_TYPES. */
  type: Index = 0;
  occurredMs = 0;

  /** The id as four big-endian words. */
  id0 = 0;
  id1 = 0;
  id2 = 0;
  id3 = 0;
  seq = 0;

  proxyStart = 0;
  proxyLength = 0;
  proxyEpochMs = 0;

  startedMs = 0;
  userStart = 0;
  userLength = 0;
  /** Addresses as IPv6, four big-endian words; IPv4 is mapped. */
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  sourcePort = 0;
  hostStart = 0;
  hostLength = 0;
  hasDestIp = false;
  dest0 = 0;
  dest1 = 0;
  dest2 = 0;
  dest3 = 0;
  destPort = 0;
  /** Of PROTOCOLS, COMMANDS, AUTH_METHODS, ACL_DECISIONS. */
  protocol: Index = 0;
  command: Index = 0;
  authMethod: Index = 0;
  aclDecision: Index = 0;
  ruleStart = 0;
  ruleLength = -1;

  bytesSent = 0;
  bytesReceived = 0;
  packetsSent = 0;
  packetsReceived = 0;

  intervalStartMs = -1;
  intervalEndMs = -1;
  deltaBytesSent = 0;
  deltaBytesReceived = 0;
  deltaPacketsSent = 0;
  deltaPacketsReceived = 0;
  minuteBytesSent = 0;
  minuteBytesReceived = 0;
  minutePacketsSent = 0;
  minutePacketsReceived = 0;

  endedMs = -1;
  durationMs = -1;
  /** Of FINAL_STATUSES and CLOSE_REASONS; -1 where the event is not a SessionClosed. */
  status: Index = -1;
  closeReason: Index = -1;
  errorStart = 0;
  errorLength = -1;
  connectMs = -1;
}

export const FINAL_STATUSES = ['closed', 'failed', 'rejected_by_acl'] as const;

export const TYPE_STARTED = SESSION_EVENT_TYPES.indexOf('SessionStarted');
export const TYPE_CLOSED = SESSION_EVENT_TYPES.indexOf('SessionClosed');

export { ACL_DECISIONS, AUTH_METHODS, CLOSE_REASONS, COMMANDS, PROTOCOLS, SESSION_EVENT_TYPES };
