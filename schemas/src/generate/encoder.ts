import { COUNTER_NAMES } from '../events/counters.js';
import { fieldOf, namesIn } from '../events/fields.js';
import type { FieldName, Part } from '../events/fields.js';
import { generatedBy, importLine } from './generated-by.js';

/** A piece of an event's JSON: a constant text, or the function that writes a value. */
type Piece = { readonly text: string } | { readonly put: string; readonly value: string };

/** A field with its name. Only texts from clients and operators need escaping. */
function piecesOf(name: FieldName): Piece[] {
  const { kind, nullable } = fieldOf(name).value;
  const value = `event.${name}`;
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
${importLine('type { Counters, SessionClosed, SessionEvent, TrafficDelta }', '@sockscope/schemas')}
${importLine('{ put, putNumber, putNumberOrNull, putText, putTextOrNull }', './json-bytes.js')}

function putCounters(out: Buffer, start: number, c: Counters): number {
  let at = start;
${statements('  ', ...counters, { text: '}' })}
  return at;
}

function putInterval(out: Buffer, start: number, event: TrafficDelta | SessionClosed): number {
  let at = start;
${statements('  ', { text: ',' }, ...piecesOfParts('interval'))}
  return at;
}

/**
 * Writes an event as JSON from a place of a buffer on, which has room for \`event_bytes\`: the same as \`JSON.stringify\`
 * of it with the schema's order of fields. Returns the place behind it.
 */
export function putEvent(out: Buffer, start: number, event: SessionEvent): number {
  let at = start;
${statements('  ', { text: '{' }, ...common)}
  switch (event.type) {
    case 'SessionStarted':
      break;
    case 'TrafficDelta':
      at = putInterval(out, at, event);
      break;
    case 'SessionClosed':
      at = putInterval(out, at, event);
${statements('      ', { text: ',' }, ...piecesOfParts('closing'))}
      break;
  }
  return put(out, at, '}');
}
`;
}
