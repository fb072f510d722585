import { EVENT_LIMITS, SCHEMA_VERSION, sessionEvent } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';

/**
 * Why a record is not an event. A closed set: it is a metric label and a header in the DLQ.
 * - `null_value`: a tombstone; the topic is not compacted.
 * - `too_large`: beyond the contract's size; it is not even parsed.
 * - `not_json`: not UTF-8, or not JSON, or not an object.
 * - `newer_version`: a schema_version that this ingest does not know yet: replay it after an upgrade.
 * - `invalid`: breaks the contract; the detail names the field.
 */
export const POISON_REASONS = [
  'null_value',
  'too_large',
  'not_json',
  'newer_version',
  'invalid',
] as const;
export type PoisonReason = (typeof POISON_REASONS)[number];

export interface Poison {
  readonly reason: PoisonReason;
  readonly detail: string;
}

export type Decoded =
  | { readonly ok: true; readonly event: SessionEvent }
  | ({ readonly ok: false } & Poison);

/** Longest detail that is kept; the record itself stays in the DLQ. */
const DETAIL_MAX_CHARS = 500;
const utf8 = new TextDecoder('utf-8', { fatal: true });

function poison(reason: PoisonReason, detail: string): Decoded {
  return { ok: false, reason, detail: detail.slice(0, DETAIL_MAX_CHARS) };
}

/** The event in a record's value, or why there is none. Never throws. */
export function decodeEvent(value: Uint8Array | null): Decoded {
  if (value === null) return poison('null_value', 'the value is null');
  if (value.length > EVENT_LIMITS.event_bytes) {
    return poison('too_large', `${value.length} bytes, at most ${EVENT_LIMITS.event_bytes}`);
  }
  let data: unknown;
  try {
    data = JSON.parse(utf8.decode(value));
  } catch (error) {
    return poison('not_json', error instanceof Error ? error.message : String(error));
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    return poison('not_json', 'not a JSON object');
  }
  const version = (data as { schema_version?: unknown }).schema_version;
  if (typeof version === 'number' && Number.isInteger(version) && version > SCHEMA_VERSION) {
    return poison('newer_version', `schema_version ${version}, known up to ${SCHEMA_VERSION}`);
  }
  const parsed = sessionEvent.safeParse(data);
  if (parsed.success) return { ok: true, event: parsed.data };
  return poison(
    'invalid',
    parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; '),
  );
}
