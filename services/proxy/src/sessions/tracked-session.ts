import { EVENT_LIMITS, MINUTE_MS, minuteOf, statusOf, zeroCounters } from '@sockscope/schemas';
import type { CloseReason, Counters } from '@sockscope/schemas';
import { NO_PLACE } from '../events/sink.js';
import type { OpenSession } from '../events/sink.js';
import type { Measurement } from '../events/measurement.js';
import type { SetMember } from '../collections/intrusive-set.js';
import type { AclInputs } from './acl-inputs.js';
import type { EventParts, LateHeader, SessionHeader } from '../events/event-parts.js';
import type { Session } from './session.js';

/** The process that emits: the same in every event. */
export interface Origin {
  readonly proxy_id: string;
  readonly proxy_epoch: number;
}

/** The part of the tracker that a session needs. */
export interface SessionOwner {
  readonly origin: Origin;
  /** Start of the tracker, milliseconds since 1970. */
  readonly epochMs: number;
  /** Makes the id of a session that started then. */
  idOf(startedAtMs: number): string;
  closing(session: TrackedSession, reason: CloseReason, errorCode: string | null): void;
}

const NOTHING = zeroCounters();
/** `seq` of a session that has ended. */
const ENDED = -1;

/**
 * A session and how much of it has been reported. The relay writes the counters; the tracker writes
 * everything else. There may be tens of thousands of idle ones, so fields are few, and times are
 * small integers (a larger number is an object of its own to V8).
 */
export class TrackedSession implements Session, OpenSession, SetMember {
  bytesSent = 0;
  bytesReceived = 0;
  packetsSent = 0;
  packetsReceived = 0;
  aclInputs: AclInputs | null = null;
  refreshCounters: (() => void) | null = null;
  terminate: ((reason: CloseReason, errorCode: string | null) => void) | null = null;

  setIndex = 0;
  /** `seq` of the last event; below 0 after the end. */
  seq = 0;
  /** Made for the first event. */
  #id: string | null = null;
  /** Start of the interval that the next event reports, and time of the last event: ms after the start. */
  intervalStart = 0;
  lastReport = 0;
  connectMs: number | null = null;
  place = NO_PLACE;
  /** The value of `mark` at the last measurement; below 0 if one is due anyway. */
  #noted = -1;

  /** The totals as last reported. */
  #reported: Counters = NOTHING;
  /**
   * The totals at the start of the UTC minute that the interval lies in; null while nothing has been
   * reported in that minute, when they are the totals as last reported.
   */
  #minuteStart: Counters | null = null;
  /** Start of the session, ms after the tracker's. */
  readonly #startedAfterMs: number;

  readonly #owner: SessionOwner;

  constructor(
    owner: SessionOwner,
    startedAtMs: number,
    readonly header: SessionHeader,
    public late: LateHeader,
  ) {
    this.#owner = owner;
    this.#startedAfterMs = startedAtMs - owner.epochMs;
  }

  get session_id(): string {
    return (this.#id ??= this.#owner.idOf(this.startedAtMs));
  }

  get startedAtMs(): number {
    return this.#owner.epochMs + this.#startedAfterMs;
  }

  get closed(): boolean {
    return this.seq === ENDED;
  }

  connected(late: Omit<LateHeader, 'acl_decision'>, connectMs: number): void {
    this.late = {
      dest_ip: late.dest_ip,
      egress_ip: late.egress_ip,
      egress_port: late.egress_port,
      acl_decision: this.late.acl_decision,
      acl_rule_matched: late.acl_rule_matched,
    };
    this.connectMs = Math.max(0, Math.round(connectMs));
    this.#noted = -1;
  }

  unreached(connectMs: number): void {
    this.connectMs = Math.max(0, Math.round(connectMs));
  }

  blocked(rule: string | null, destIp: string | null): void {
    this.late = { ...this.late, dest_ip: destIp, acl_decision: 'block', acl_rule_matched: rule };
  }

  close(reason: CloseReason, errorCode: string | null): void {
    if (this.closed) return;
    this.#owner.closing(this, reason, errorCode);
  }

  /** Whether anything was counted since the last event. */
  get hasUnreported(): boolean {
    const reported = this.#reported;
    return (
      this.bytesSent !== reported.bytes_sent ||
      this.bytesReceived !== reported.bytes_received ||
      this.packetsSent !== reported.packets_sent ||
      this.packetsReceived !== reported.packets_received
    );
  }

  /** Whether anything was reported of the UTC minute that the interval lies in. */
  get hasReportedMinute(): boolean {
    return this.#minuteStart !== null;
  }

  /**
   * The counts up to `nowMs`, if they differ from the last measurement; else null.
   * Everything in it only grows, so the sum shows a difference.
   */
  measurement(nowMs: number): Measurement | null {
    const mark =
      this.seq + this.bytesSent + this.bytesReceived + this.packetsSent + this.packetsReceived;
    if (mark === this.#noted) return null;
    this.#noted = mark;
    return this.#measure(this.seq, nowMs);
  }

  /** Start of the interval that the next event reports, milliseconds since 1970. */
  get intervalStartMs(): number {
    return this.startedAtMs + this.intervalStart;
  }

  /** End of the UTC minute that the interval lies in, milliseconds since 1970. */
  get minuteEndMs(): number {
    return minuteOf(this.intervalStartMs) + MINUTE_MS;
  }

  /** The first event. */
  started(late = this.late): EventParts {
    return {
      type: 'SessionStarted',
      moment: this.#moment(this.startedAtMs, 0),
      origin: this.#owner.origin,
      header: this.header,
      late,
      totals: NOTHING,
      interval: null,
      closing: null,
    };
  }

  /**
   * The next TrafficDelta, for the interval up to `endMs`, which must not lie beyond `minuteEndMs`.
   * Everything counted so far belongs to it.
   */
  report(endMs: number): Measurement {
    const measurement = this.#measure(this.seq + 1, endMs);
    this.#markReported(endMs);
    return measurement;
  }

  /** Marks the session as closed. Returns the `seq` of its last event. */
  end(): number {
    const seq = this.seq + 1;
    this.seq = ENDED;
    return seq;
  }

  /** The last event. Nothing is counted any more. */
  closedEvent(
    seq: number,
    atMs: number,
    reason: CloseReason,
    errorCode: string | null,
  ): EventParts {
    return {
      type: 'SessionClosed',
      moment: this.#moment(atMs, seq),
      origin: this.#owner.origin,
      header: this.header,
      late: this.late,
      totals: this.#totals(),
      interval: {
        interval_start: this.intervalStartMs,
        interval_end: atMs,
        delta: this.#delta(),
        minute: this.#minute(),
      },
      closing: {
        ended_at: atMs,
        duration_ms: atMs - this.startedAtMs,
        status: statusOf(reason),
        close_reason: reason,
        error_code:
          errorCode === null || errorCode === ''
            ? null
            : errorCode.slice(0, EVENT_LIMITS.error_code_chars),
        connect_ms: this.connectMs,
        assumed: false,
      },
    };
  }

  /** Begins the interval of a new minute; everything counted must have been reported. */
  beginMinute(startMs: number): void {
    this.intervalStart = startMs - this.startedAtMs;
    this.#minuteStart = null;
  }

  #measure(seq: number, atMs: number): Measurement {
    return {
      seq,
      interval_start_ms: this.intervalStartMs,
      at_ms: atMs,
      connect_ms: this.connectMs,
      totals: this.#totals(),
      delta: this.#delta(),
      minute: this.#minute(),
    };
  }

  #moment(atMs: number, seq: number): EventParts['moment'] {
    const { session_id, startedAtMs: started_at } = this;
    return { occurred_at: atMs, session_id, seq, started_at };
  }

  #totals(): Counters {
    return {
      bytes_sent: this.bytesSent,
      bytes_received: this.bytesReceived,
      packets_sent: this.packetsSent,
      packets_received: this.packetsReceived,
    };
  }

  #delta(): Counters {
    return this.#since(this.#reported);
  }

  #minute(): Counters {
    return this.#since(this.#minuteStart ?? this.#reported);
  }

  #since(start: Counters): Counters {
    return {
      bytes_sent: this.bytesSent - start.bytes_sent,
      bytes_received: this.bytesReceived - start.bytes_received,
      packets_sent: this.packetsSent - start.packets_sent,
      packets_received: this.packetsReceived - start.packets_received,
    };
  }

  #markReported(endMs: number): void {
    this.seq += 1;
    this.intervalStart = endMs - this.startedAtMs;
    this.lastReport = this.intervalStart;
    if (!this.hasUnreported) return;
    this.#minuteStart ??= this.#reported;
    this.#reported = this.#totals();
  }
}
