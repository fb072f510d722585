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
  const isMoment = part === 'envelope' || part === 'identity' || name === 'started_at';
  return `${isMoment ? 'moment' : part}.${name}`;
}

/** A field with its name. Only texts from clients and operators need escaping. */
function piecesOf(name: FieldName): Piece[] {
  if (name === 'schema_version') return [{ text: `"${name}":${SCHEMA_VERSION}` }];
  const { kind, nullable } = fieldOf(name).value;
  const value = placeOf(name);
  const label = { text: `"${name}":` };
  switch (kind) {
    case 'text':
    case 'address':
      return [label, { put: 'putText', value }];
    case 'integer':
      return [label, { put: 'putNumber', value }];
    case 'flag':
      return [label, { put: 'put', value: `${value} ? 'true' : 'false'` }];
    case 'time':
    case 'uuid':
    case 'choice':
      if (nullable === true) return [label, { put: 'putText', value }];
      return [label, { text: '"' }, { put: 'put', value }, { text: '"' }];
    case 'counters':
      return [label, { put: 'putCounters', value }];
  }
}

function piecesOfParts(...parts: Part[]): Piece[] {
  return namesIn(...parts).flatMap((name, i) => [{ text: i === 0 ? '' : ',' }, ...piecesOf(name)]);
}

/** Texts before values, by the name of their constant. */
type Texts = Map<string, string>;

/** Statements that write the pieces one behind the other, each value with the constant before it. */
function statements(texts: Texts, indent: string, ...pieces: Piece[]): string {
  const places: string[] = [];
  let text = '';
  for (const piece of pieces) {
    if ('text' in piece) {
      text += piece.text;
      continue;
    }
    const name = (/^[\w.]+/.exec(piece.value)?.[0] ?? '').replace('.', '_').toUpperCase();
    texts.set(name, text);
    text = '';
    places.push(`${piece.put}(out, putBytes(out, at, ${name}), ${piece.value})`);
  }
  if (text !== '') places.push(`put(out, at, '${text}')`);
  return places.map((place) => `${indent}at = ${place};`).join('\n');
}

/** The proxy's encoder. */
export function encoderSource(): string {
  const counters = COUNTER_NAMES.flatMap((name, i): Piece[] => [
    { text: `${i === 0 ? '{' : ','}"${name}":` },
    { put: 'putNumber', value: `c.${name}` },
  ]);
  const common = piecesOfParts('envelope', 'identity', 'origin', 'header', 'totals');
  const texts: Texts = new Map();
  const putCounters = statements(texts, '  ', ...counters, { text: '}' });
  const putCommon = statements(texts, '  ', { text: '{' }, ...common);
  const putInterval = statements(texts, '    ', { text: ',' }, ...piecesOfParts('interval'));
  const putClosing = statements(texts, '    ', { text: ',' }, ...piecesOfParts('closing'));
  const constants = [...texts].map(([name, text]) => `const ${name} = Buffer.from('${text}');`);
  return `${generatedBy('encoder')}
${importLine('type { Counters }', '@sockscope/schemas')}
${importLine('type { EventParts }', './event-parts.js')}
${importLine('{ put, putBytes, putNumber, putText }', './json-bytes.js')}

${constants.join('\n')}

function putCounters(out: Buffer, start: number, c: Counters): number {
  let at = start;
${putCounters}
  return at;
}

/**
 * Writes an event as JSON from a place of a buffer on, which has room for \`event_bytes\`: the same as \`JSON.stringify\`
 * of it with the schema's order of fields. Returns the place behind it.
 */
export function putEvent(out: Buffer, start: number, event: EventParts): number {
  const { moment, origin, header, totals, interval, closing } = event;
  let at = start;
${putCommon}
  if (interval !== null) {
${putInterval}
  }
  if (closing !== null) {
${putClosing}
  }
  return put(out, at, '}');
}
`;
}
