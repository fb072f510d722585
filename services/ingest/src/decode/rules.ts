import { CLOSE_REASONS, FINAL_STATUSES, MINUTE_MS, statusOf } from '@sockscope/schemas';
import { TYPE_CLOSED, TYPE_STARTED } from './event-types.js';
import type { EventView } from './event-view.generated.js';

const STATUS_OF_REASON = CLOSE_REASONS.map((reason) => FINAL_STATUSES.indexOf(statusOf(reason)));

/** The rules between fields: `brokenRule` of the schema. */
export function followsRules(view: EventView): boolean {
  const { startedAtMs: startedMs, type } = view;
  if (view.sessionId0 * 65_536 + (view.sessionId1 >>> 16) !== startedMs) return false;
  if (view.occurredAtMs < startedMs) return false;
  if (type === TYPE_STARTED) {
    return (
      view.seq === 0 &&
      view.bytesSent === 0 &&
      view.bytesReceived === 0 &&
      view.packetsSent === 0 &&
      view.packetsReceived === 0
    );
  }
  if (view.seq === 0) return false;
  if (type === TYPE_CLOSED) {
    if (STATUS_OF_REASON[view.closeReason] !== view.status) return false;
    if (view.endedAtMs < startedMs || view.endedAtMs < view.intervalStartMs) return false;
  }
  const start = view.intervalStartMs;
  const end = view.intervalEndMs;
  if (start < startedMs - (startedMs % MINUTE_MS)) return false;
  if (end < start) return false;
  if (end > start && Math.floor((end - 1) / MINUTE_MS) !== Math.floor(start / MINUTE_MS)) {
    return false;
  }
  return (
    view.deltaBytesSent <= view.minuteBytesSent &&
    view.deltaBytesReceived <= view.minuteBytesReceived &&
    view.deltaPacketsSent <= view.minutePacketsSent &&
    view.deltaPacketsReceived <= view.minutePacketsReceived &&
    view.minuteBytesSent <= view.bytesSent &&
    view.minuteBytesReceived <= view.bytesReceived &&
    view.minutePacketsSent <= view.packetsSent &&
    view.minutePacketsReceived <= view.packetsReceived
  );
}
