import { COUNTER_NAMES } from '../events/counters.js';
import { fieldOf, namesIn } from '../events/fields.js';
import type { FieldName, Part } from '../events/fields.js';
import { SCHEMA_VERSION } from '../events/limits.js';
import { generatedBy, importLine } from './generated-by.js';

/** A piece of an event's JSON: a constant text, or the function that writes a value. */
type Piece = { readonly text: string } | { readonly put: string; readonly value: string };

/** The place of a field in the proxy's `EventParts`. */
function placeOf(name: FieldName): string {
  const { part } = fieldOf(name);
  if (name === 'type') return 'event.type';
  if (name === 'schema_version') return String(SCHEMA_VERSION);
  const isMoment = part === 'envelope' || part === 'identity' || name === 'started_at';
  return `${isMoment ? 'moment' : part}.${name}`;
}

/** A field with its name. Only texts from clients and operators need escaping. */
function piecesOf(name: FieldName): Piece[] {
  const { kind, nullable } = fieldOf(name).value;
  const value = placeOf(name);
  const label = { text: `"${name}":` };
  const orNull = nullable === true ? 'OrNull' : '';
  switch (kind) {
    case 'text':
    case 'address':
      return [label, { put: `putText${orNull}`, value }];
    case 'integer':
      return [label, { put: `putNumber${orNull}`, value }];
    case 'flag':
      return [label, { put: 'put', value: `${value} ? 'true' : 'false'` }];
    case 'time':
    case 'uuid':
    case 'choice':
      if (nullable === true) return [label, { put: 'putTextOrNull', value }];
      return [label, { text: '"' }, { put: 'put', value }, { text: '"' }];
    case 'counters':
      return [label, { put: 'putCounters', value }];
  }
}

function piecesOfParts(...parts: Part[]): Piece[] {
  return namesIn(...parts).flatMap((name, i) => [{ text: i === 0 ? '' : ',' }, ...piecesOf(name)]);
}

/** Statements that write the pieces one behind the other, each value with the constant before it. */
function statements(indent: string, ...pieces: Piece[]): string {
  const places: string[] = [];
  let text = '';
  const behindText = (): string => {
    const place = text === '' ? 'at' : `put(out, at, '${text}')`;
    text = '';
    return place;
  };
  for (const piece of pieces) {
    if ('text' in piece) text += piece.text;
    else places.push(`${piece.put}(out, ${behindText()}, ${piece.value})`);
  }
  if (text !== '') places.push(behindText());
  return places.map((place) => `${indent}at = ${place};`).join('\n');
}

/** The proxy's encoder. */
export function encoderSource(): string {
  const counters = COUNTER_NAMES.flatMap((name, i): Piece[] => [
    { text: `${i === 0 ? '{' : ','}"${name}":` },
    { put: 'putNumber', value: `c.${name}` },
  ]);
  const common = piecesOfParts('envelope', 'identity', 'origin', 'header', 'totals');
  return `${generatedBy('encoder')}
${importLine('type { Counters }', '@sockscope/schemas')}
${importLine('type { EventParts }', './event-parts.js')}
${importLine('{ put, putNumber, putNumberOrNull, putText, putTextOrNull }', './json-bytes.js')}

function putCounters(out: Buffer, start: number, c: Counters): number {
  let at = start;
${statements('  ', ...counters, { text: '}' })}
  return at;
}

/**
 * Writes an event as JSON from a place of a buffer on, which has room for \`event_bytes\`: the same as \`JSON.stringify\`
 * of it with the schema's order of fields. Returns the place behind it.
 */
export function putEvent(out: Buffer, start: number, event: EventParts): number {
  const { moment, origin, header, totals, interval, closing } = event;
  let at = start;
${statements('  ', { text: '{' }, ...common)}
  if (interval !== null) {
${statements('    ', { text: ',' }, ...piecesOfParts('interval'))}
  }
  if (closing !== null) {
${statements('    ', { text: ',' }, ...piecesOfParts('closing'))}
  }
  return put(out, at, '}');
}
`;
}
