/**
 * Reads an event straight from the bytes that our own emitter makes: every key in the schema's order,
 * no white space, plain ASCII without escapes. That is several times faster than `JSON.parse` with a
 * validation behind it, and makes no object.
 *
 * It knows a part of what the schema accepts, and nothing beyond: whatever is not exactly so is left
 * to the schema itself (decode-event.ts). scan.test.ts holds the two together: what this accepts, zod
 * accepts with the same values, and what the emitter makes, this accepts.
 */
import {
  CLOSE_REASONS,
  EVENT_LIMITS,
  MINUTE_MS,
  SCHEMA_VERSION,
  statusOf,
} from '@sockscope/schemas';
import {
  ACL_DECISIONS,
  AUTH_METHODS,
  COMMANDS,
  FINAL_STATUSES,
  PROTOCOLS,
  SESSION_EVENT_TYPES,
  TYPE_CLOSED,
  TYPE_STARTED,
} from './event-view.js';
import type { EventView } from './event-view.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const DOT = 0x2e;
const SMALL_N = 0x6e;

const literal = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

const OPEN = literal('{"type":"');
const OCCURRED = literal(`","schema_version":${SCHEMA_VERSION},"occurred_at":"`);
const SESSION_ID = literal('","session_id":"');
const SEQ = literal('","seq":');
const PROXY_ID = literal(',"proxy_id":"');
const PROXY_EPOCH = literal('","proxy_epoch":');
const STARTED_AT = literal(',"started_at":"');
const USER = literal('","user":"');
const SOURCE_IP = literal('","source_ip":"');
const SOURCE_PORT = literal('","source_port":');
const DEST_HOST = literal(',"dest_host":"');
const DEST_IP = literal('","dest_ip":');
const DEST_PORT = literal(',"dest_port":');
const PROTOCOL = literal(',"protocol":"');
const COMMAND = literal('","command":"');
const AUTH_METHOD = literal('","auth_method":"');
const ACL_DECISION = literal('","acl_decision":"');
const ACL_RULE = literal('","acl_rule_matched":');
const BYTES_SENT = literal(',"bytes_sent":');
const BYTES_RECEIVED = literal(',"bytes_received":');
const PACKETS_SENT = literal(',"packets_sent":');
const PACKETS_RECEIVED = literal(',"packets_received":');
const INTERVAL_START = literal(',"interval_start":"');
const INTERVAL_END = literal('","interval_end":"');
const DELTA = literal('","delta":{"bytes_sent":');
const MINUTE = literal('},"minute":{"bytes_sent":');
const END_OF_OBJECT = literal('}');
const ENDED_AT = literal(',"ended_at":"');
const DURATION = literal('","duration_ms":');
const STATUS = literal(',"status":"');
const CLOSE_REASON = literal('","close_reason":"');
const ERROR_CODE = literal('","error_code":');
const CONNECT = literal(',"connect_ms":');
const NULL = literal('null');

const TYPE_LITERALS = SESSION_EVENT_TYPES.map(literal);
const PROTOCOL_LITERALS = PROTOCOLS.map(literal);
const COMMAND_LITERALS = COMMANDS.map(literal);
const AUTH_LITERALS = AUTH_METHODS.map(literal);
const ACL_LITERALS = ACL_DECISIONS.map(literal);
const STATUS_LITERALS = FINAL_STATUSES.map(literal);
const REASON_LITERALS = CLOSE_REASONS.map(literal);
const STATUS_OF_REASON = CLOSE_REASONS.map((reason) => FINAL_STATUSES.indexOf(statusOf(reason)));

/** 0 to 15 for a hexadecimal digit in lower case, else -1. */
const HEX = new Int8Array(256).fill(-1);
for (let digit = 0; digit < 16; digit += 1) HEX[digit.toString(16).charCodeAt(0)] = digit;

/**
 * Scans one event after the other. Fields in place of return values, so that nothing is allocated.
 * `at` is -1 once something did not fit.
 */
export class EventScanner {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  /** The day that was parsed last: events of one batch lie within few. */
  #dayKey = 0;
  #dayMs = 0;
  /** Results of the parts. */
  #start = 0;
  #word0 = 0;
  #word1 = 0;
  #word2 = 0;
  #word3 = 0;

  /** Whether bytes[start, end) are an event as our emitter makes it, and valid; `view` holds it then. */
  scan(bytes: Uint8Array, start: number, end: number, view: EventView): boolean {
    this.#bytes = bytes;
    this.#at = start;
    view.text = bytes;
    this.#skip(OPEN);
    const type = this.#oneOf(TYPE_LITERALS);
    view.type = type;
    this.#skip(OCCURRED);
    view.occurredMs = this.#time();
    this.#skip(SESSION_ID);
    this.#uuid();
    view.id0 = this.#word0;
    view.id1 = this.#word1;
    view.id2 = this.#word2;
    view.id3 = this.#word3;
    this.#skip(SEQ);
    view.seq = this.#integer(2_147_483_647);
    this.#skip(PROXY_ID);
    view.proxyLength = this.#text(EVENT_LIMITS.proxy_id_chars);
    view.proxyStart = this.#start;
    this.#skip(PROXY_EPOCH);
    view.proxyEpochMs = this.#integer(EVENT_LIMITS.latest_ms);
    this.#skip(STARTED_AT);
    view.startedMs = this.#time();
    this.#skip(USER);
    view.userLength = this.#text(EVENT_LIMITS.user_chars);
    view.userStart = this.#start;
    this.#skip(SOURCE_IP);
    this.#address();
    view.source0 = this.#word0;
    view.source1 = this.#word1;
    view.source2 = this.#word2;
    view.source3 = this.#word3;
    this.#skip(SOURCE_PORT);
    view.sourcePort = this.#integer(65_535);
    this.#skip(DEST_HOST);
    view.hostLength = this.#text(EVENT_LIMITS.dest_host_chars);
    view.hostStart = this.#start;
    this.#skip(DEST_IP);
    view.hasDestIp = !this.#isNull();
    if (view.hasDestIp) {
      this.#quote();
      this.#address();
      this.#quote();
      view.dest0 = this.#word0;
      view.dest1 = this.#word1;
      view.dest2 = this.#word2;
      view.dest3 = this.#word3;
    }
    this.#skip(DEST_PORT);
    view.destPort = this.#integer(65_535);
    this.#skip(PROTOCOL);
    view.protocol = this.#oneOf(PROTOCOL_LITERALS);
    this.#skip(COMMAND);
    view.command = this.#oneOf(COMMAND_LITERALS);
    this.#skip(AUTH_METHOD);
    view.authMethod = this.#oneOf(AUTH_LITERALS);
    this.#skip(ACL_DECISION);
    view.aclDecision = this.#oneOf(ACL_LITERALS);
    this.#skip(ACL_RULE);
    view.ruleLength = this.#nullableText(EVENT_LIMITS.acl_rule_chars);
    view.ruleStart = this.#start;
    this.#skip(BYTES_SENT);
    view.bytesSent = this.#counter();
    this.#skip(BYTES_RECEIVED);
    view.bytesReceived = this.#counter();
    this.#skip(PACKETS_SENT);
    view.packetsSent = this.#counter();
    this.#skip(PACKETS_RECEIVED);
    view.packetsReceived = this.#counter();
    // Nothing below makes good what did not fit above.
    if (this.#at < 0) return false;
    if (type === TYPE_STARTED) withoutInterval(view);
    else this.#interval(view);
    if (type === TYPE_CLOSED) this.#ending(view);
    else withoutEnding(view);
    this.#skip(END_OF_OBJECT);
    return this.#at === end && followsRules(view);
  }

  #interval(view: EventView): void {
    this.#skip(INTERVAL_START);
    view.intervalStartMs = this.#time();
    this.#skip(INTERVAL_END);
    view.intervalEndMs = this.#time();
    this.#skip(DELTA);
    view.deltaBytesSent = this.#counter();
    this.#skip(BYTES_RECEIVED);
    view.deltaBytesReceived = this.#counter();
    this.#skip(PACKETS_SENT);
    view.deltaPacketsSent = this.#counter();
    this.#skip(PACKETS_RECEIVED);
    view.deltaPacketsReceived = this.#counter();
    this.#skip(MINUTE);
    view.minuteBytesSent = this.#counter();
    this.#skip(BYTES_RECEIVED);
    view.minuteBytesReceived = this.#counter();
    this.#skip(PACKETS_SENT);
    view.minutePacketsSent = this.#counter();
    this.#skip(PACKETS_RECEIVED);
    view.minutePacketsReceived = this.#counter();
    this.#skip(END_OF_OBJECT);
  }

  #ending(view: EventView): void {
    this.#skip(ENDED_AT);
    view.endedMs = this.#time();
    this.#skip(DURATION);
    view.durationMs = this.#counter();
    this.#skip(STATUS);
    view.status = this.#oneOf(STATUS_LITERALS);
    this.#skip(CLOSE_REASON);
    view.closeReason = this.#oneOf(REASON_LITERALS);
    this.#skip(ERROR_CODE);
    view.errorLength = this.#nullableText(EVENT_LIMITS.error_code_chars);
    view.errorStart = this.#start;
    this.#skip(CONNECT);
    view.connectMs = this.#isNull() ? -1 : this.#counter();
  }

  /** Passes over these very bytes. */
  #skip(expected: Uint8Array): void {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at < 0) return;
    const { length } = expected;
    for (let i = 0; i < length; i += 1) {
      if (bytes[at + i] !== expected[i]) {
        this.#at = -1;
        return;
      }
    }
    this.#at = at + length;
  }

  #quote(): void {
    if (this.#at >= 0) this.#at = this.#bytes[this.#at] === QUOTE ? this.#at + 1 : -1;
  }

  /** Passes over `null`, where it stands here. */
  #isNull(): boolean {
    if (this.#at < 0 || this.#bytes[this.#at] !== SMALL_N) return false;
    this.#skip(NULL);
    return true;
  }

  /** Which of these texts stands here, before a quotation mark. */
  #oneOf(choices: readonly Uint8Array[]): number {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at < 0) return -1;
    for (let choice = 0; choice < choices.length; choice += 1) {
      const text = choices[choice] as Uint8Array;
      const { length } = text;
      if (bytes[at + length] !== QUOTE) continue;
      let i = 0;
      while (i < length && bytes[at + i] === text[i]) i += 1;
      if (i < length) continue;
      this.#at = at + length;
      return choice;
    }
    this.#at = -1;
    return -1;
  }

  /** The length of a text of 1 to `max` plain characters up to a quotation mark; it begins at `start`. */
  #text(max: number): number {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at < 0) return -1;
    let end = at;
    const limit = at + max;
    for (;;) {
      const byte = bytes[end] as number;
      if (byte === QUOTE) break;
      // Also false for what lies behind the end of the bytes.
      if (!(byte >= 0x20 && byte < 0x80) || byte === BACKSLASH || end >= limit) {
        this.#at = -1;
        return -1;
      }
      end += 1;
    }
    this.#start = at;
    this.#at = end > at ? end : -1;
    return end - at;
  }

  #nullableText(max: number): number {
    if (this.#isNull()) return -1;
    this.#quote();
    const length = this.#text(max);
    this.#quote();
    return length;
  }

  #counter(): number {
    return this.#integer(Number.MAX_SAFE_INTEGER);
  }

  /** A whole number from 0 to `max`, without a sign, a fraction or leading zeros. */
  #integer(max: number): number {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at < 0) return -1;
    let end = at;
    let value = 0;
    for (;;) {
      const digit = (bytes[end] as number) - ZERO;
      if (!(digit >= 0 && digit <= 9)) break;
      value = value * 10 + digit;
      end += 1;
    }
    const length = end - at;
    const isFine =
      length > 0 && length <= 16 && value <= max && (length === 1 || bytes[at] !== ZERO);
    this.#at = isFine ? end : -1;
    return value;
  }

  #pair(at: number): number {
    const tens = (this.#bytes[at] as number) - ZERO;
    const ones = (this.#bytes[at + 1] as number) - ZERO;
    return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1;
  }

  /** `2026-01-31T23:59:59.999Z` as milliseconds since 1970. */
  #time(): number {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at < 0) return -1;
    const century = this.#pair(at);
    const year = this.#pair(at + 2);
    const month = this.#pair(at + 5);
    const day = this.#pair(at + 8);
    const hour = this.#pair(at + 11);
    const minute = this.#pair(at + 14);
    const second = this.#pair(at + 17);
    const centis = this.#pair(at + 20);
    const millis = (bytes[at + 22] as number) - ZERO;
    const isFine =
      century === 20 &&
      year >= 20 &&
      month >= 1 &&
      month <= 12 &&
      day >= 1 &&
      day <= 31 &&
      hour >= 0 &&
      hour <= 23 &&
      minute >= 0 &&
      minute <= 59 &&
      second >= 0 &&
      second <= 59 &&
      centis >= 0 &&
      millis >= 0 &&
      millis <= 9 &&
      bytes[at + 4] === 0x2d &&
      bytes[at + 7] === 0x2d &&
      bytes[at + 10] === 0x54 &&
      bytes[at + 13] === COLON &&
      bytes[at + 16] === COLON &&
      bytes[at + 19] === DOT &&
      bytes[at + 23] === 0x5a;
    if (!isFine) {
      this.#at = -1;
      return -1;
    }
    const dayKey = (year * 16 + month) * 32 + day;
    if (dayKey !== this.#dayKey) {
      const date = new Date(Date.UTC(2000 + year, month - 1, day));
      if (date.getUTCDate() !== day) {
        this.#at = -1;
        return -1;
      }
      this.#dayKey = dayKey;
      this.#dayMs = date.getTime();
    }
    this.#at = at + 24;
    return this.#dayMs + ((hour * 60 + minute) * 60 + second) * 1_000 + centis * 10 + millis;
  }

  /** Four hexadecimal digits, negative where they are not. */
  #hex4(at: number): number {
    const bytes = this.#bytes;
    const a = HEX[bytes[at] as number] as number;
    const b = HEX[bytes[at + 1] as number] as number;
    const c = HEX[bytes[at + 2] as number] as number;
    const d = HEX[bytes[at + 3] as number] as number;
    // Any -1 makes the whole negative; `undefined`, behind the end, becomes 0 and fails elsewhere.
    return (a << 12) | (b << 8) | (c << 4) | d;
  }

  /** A UUIDv7 in lower case, into the words. */
  #uuid(): void {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at < 0) return;
    const p0 = this.#hex4(at);
    const p1 = this.#hex4(at + 4);
    const p2 = this.#hex4(at + 9);
    const p3 = this.#hex4(at + 14);
    const p4 = this.#hex4(at + 19);
    const p5 = this.#hex4(at + 24);
    const p6 = this.#hex4(at + 28);
    const p7 = this.#hex4(at + 32);
    const isFine =
      (p0 | p1 | p2 | p3 | p4 | p5 | p6 | p7) >= 0 &&
      at + 36 <= bytes.length &&
      bytes[at + 8] === 0x2d &&
      bytes[at + 13] === 0x2d &&
      bytes[at + 18] === 0x2d &&
      bytes[at + 23] === 0x2d &&
      p3 >> 12 === 7 &&
      p4 >> 14 === 2;
    if (!isFine) {
      this.#at = -1;
      return;
    }
    this.#word0 = ((p0 << 16) | p1) >>> 0;
    this.#word1 = ((p2 << 16) | p3) >>> 0;
    this.#word2 = ((p4 << 16) | p5) >>> 0;
    this.#word3 = ((p6 << 16) | p7) >>> 0;
    this.#at = at + 36;
  }

  /** An address up to a quotation mark, into the words. */
  #address(): void {
    const bytes = this.#bytes;
    const at = this.#at;
    if (at < 0) return;
    let end = at;
    let value = 0;
    let part = 0;
    let dots = 0;
    let digits = 0;
    for (;;) {
      const byte = bytes[end] as number;
      if (byte >= ZERO && byte <= NINE) {
        // No leading zeros: they would be octal to some.
        if (digits > 0 && part === 0) break;
        part = part * 10 + byte - ZERO;
        digits += 1;
        if (part > 255) break;
      } else if (byte === DOT || byte === QUOTE) {
        if (digits === 0) break;
        value = ((value << 8) | part) >>> 0;
        part = 0;
        digits = 0;
        if (byte === QUOTE) {
          if (dots !== 3) break;
          this.#word0 = 0;
          this.#word1 = 0;
          this.#word2 = 0xffff;
          this.#word3 = value;
          this.#at = end;
          return;
        }
        dots += 1;
        if (dots > 3) break;
      } else {
        break;
      }
      end += 1;
    }
    this.#address6();
  }

  /** IPv6 of groups in hexadecimal, any of them left out once by `::`. */
  #address6(): void {
    const bytes = this.#bytes;
    let at = this.#at;
    const groups = this.#groups;
    let count = 0;
    let gap = -1;
    if (bytes[at] === COLON) {
      // Only as a part of `::`.
      if (bytes[at + 1] !== COLON) {
        this.#at = -1;
        return;
      }
      gap = 0;
      at += 2;
    }
    while (bytes[at] !== QUOTE) {
      let group = 0;
      let digits = 0;
      for (;;) {
        const byte = bytes[at] as number;
        // Upper case counts too.
        const digit = HEX[byte >= 0x41 && byte <= 0x46 ? byte + 0x20 : byte] ?? -1;
        if (digit < 0) break;
        group = (group << 4) | digit;
        digits += 1;
        at += 1;
        if (digits > 4) break;
      }
      if (digits === 0 || digits > 4 || count === 8) {
        this.#at = -1;
        return;
      }
      groups[count] = group;
      count += 1;
      if (bytes[at] === QUOTE) break;
      if (bytes[at] !== COLON || bytes[at + 1] === QUOTE) {
        this.#at = -1;
        return;
      }
      at += 1;
      if (bytes[at] === COLON) {
        if (gap >= 0) {
          this.#at = -1;
          return;
        }
        gap = count;
        at += 1;
      }
    }
    if (gap < 0 ? count !== 8 : count > 7) {
      this.#at = -1;
      return;
    }
    if (gap >= 0) {
      groups.copyWithin(8 - (count - gap), gap, count);
      groups.fill(0, gap, 8 - (count - gap));
    }
    this.#word0 = (((groups[0] as number) << 16) | (groups[1] as number)) >>> 0;
    this.#word1 = (((groups[2] as number) << 16) | (groups[3] as number)) >>> 0;
    this.#word2 = (((groups[4] as number) << 16) | (groups[5] as number)) >>> 0;
    this.#word3 = (((groups[6] as number) << 16) | (groups[7] as number)) >>> 0;
    this.#at = at;
  }
  readonly #groups = new Uint16Array(8);
}

function withoutInterval(view: EventView): void {
  view.intervalStartMs = -1;
  view.intervalEndMs = -1;
  view.deltaBytesSent = 0;
  view.deltaBytesReceived = 0;
  view.deltaPacketsSent = 0;
  view.deltaPacketsReceived = 0;
  view.minuteBytesSent = 0;
  view.minuteBytesReceived = 0;
  view.minutePacketsSent = 0;
  view.minutePacketsReceived = 0;
}

function withoutEnding(view: EventView): void {
  view.endedMs = -1;
  view.durationMs = -1;
  view.status = -1;
  view.closeReason = -1;
  view.errorLength = -1;
  view.connectMs = -1;
}

/** The rules between fields: `brokenRule` of the schema. */
function followsRules(view: EventView): boolean {
  const { startedMs, type } = view;
  if (view.proxyEpochMs < EVENT_LIMITS.earliest_ms) return false;
  if (view.id0 * 65_536 + (view.id1 >>> 16) !== startedMs) return false;
  if (view.occurredMs < startedMs) return false;
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
    if (view.endedMs < startedMs) return false;
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
