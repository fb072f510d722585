/** Decodes a record's value into an event, or into the reason why it is not one. */
import {
  classOfVersion,
  EVENT_LIMITS,
  SCHEMA_VERSION,
  sessionEvent,
  unknownFields,
  upcast,
} from '@sockscope/schemas';
import type { SessionEventType } from '@sockscope/schemas';
import { fillView } from './event-view.generated.js';
import type { EventView } from './event-view.generated.js';
import { EventScanner } from './scan.js';

/**
 * Why a record is not an event. A closed set: it is a metric label and a header in the DLQ.
 * - `null_value`: a tombstone; the topic is not compacted.
 * - `too_large`: beyond the contract's size; it is not even parsed.
 * - `not_json`: not UTF-8, or not JSON, or not an object.
 * - `newer_version`: a schema_version that this ingest does not know yet. Its partition waits for one
 *   that does; it becomes a dead letter only if an operator decides to skip it.
 * - `unreadable`: bytes of a record batch that was damaged or too large, and that an operator has skipped.
 * - `invalid`: breaks the contract; the detail names the field.
 */
export const POISON_REASONS = [
  'null_value',
  'too_large',
  'not_json',
  'newer_version',
  'unreadable',
  'invalid',
] as const;
export type PoisonReason = (typeof POISON_REASONS)[number];

export interface Poison {
  readonly reason: PoisonReason;
  readonly detail: string;
  /** The schema version that a later ingest needs to read it. */
  readonly neededVersion?: number;
}

/** Longest detail that is kept; the record itself stays in the DLQ. */
const DETAIL_MAX_CHARS = 500;

export interface Decoder {
  /**
   * Null if bytes[start, start + length) are an event, which `view` then holds until the next call;
   * else why not. A length of -1 is a null value. Never throws.
   */
  decode(bytes: Uint8Array, start: number, length: number): Poison | null;
}

/**
 * @param onUnknownFields called for an event that is valid and has fields beyond this version of the
 *   contract: how many of them.
 */
export function createDecoder(
  view: EventView,
  onUnknownFields: (type: SessionEventType, count: number) => void = () => undefined,
): Decoder {
  const scanner = new EventScanner();
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  function bySchema(bytes: Uint8Array, start: number, length: number): Poison | null {
    let data: unknown;
    try {
      data = JSON.parse(utf8.decode(bytes.subarray(start, start + length)));
    } catch (error) {
      return poison('not_json', error instanceof Error ? error.message : String(error));
    }
    if (!isObject(data)) return poison('not_json', 'not a JSON object');
    const { schema_version: version } = data;
    const versionClass = classOfVersion(version);
    if (versionClass === 'waits') {
      const detail = `schema_version ${String(version)}, known up to ${SCHEMA_VERSION}`;
      return { ...poison('newer_version', detail), neededVersion: Number(version) };
    }
    const event = versionClass === 'known' ? upcast(data) : data;
    const parsed = sessionEvent.safeParse(event);
    if (!parsed.success) {
      return poison(
        'invalid',
        parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; '),
      );
    }
    const unknown = unknownFields(event, parsed.data.type);
    if (unknown > 0) onUnknownFields(parsed.data.type, unknown);
    fillView(view, parsed.data);
    return null;
  }

  return {
    decode(bytes, start, length) {
      if (length < 0) return poison('null_value', 'the value is null');
      if (length > EVENT_LIMITS.event_bytes) {
        return poison('too_large', `${length} bytes, at most ${EVENT_LIMITS.event_bytes}`);
      }
      if (scanner.scan(bytes, start, start + length, view)) return null;
      return bySchema(bytes, start, length);
    },
  };
}

function isObject(data: unknown): data is Record<string, unknown> {
  return typeof data === 'object' && data !== null && !Array.isArray(data);
}

function poison(reason: PoisonReason, detail: string): Poison {
  return { reason, detail: detail.slice(0, DETAIL_MAX_CHARS) };
}
