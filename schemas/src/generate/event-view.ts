import { COUNTER_NAMES } from '../events/counters.js';
import { fieldOf } from '../events/fields.js';
import type { FieldName } from '../events/fields.js';
import { generatedBy, importLine } from './generated-by.js';
import { CLOSING, COMMON, INTERVAL, mayBeAbsent, VIEWED, viewNames } from './view-names.js';

/** The values of a field's properties while it has no value. */
function absentValues(name: FieldName): string[] {
  const { kind } = fieldOf(name).value;
  return viewNames(name).map((property) => {
    if (property.startsWith('has')) return 'false';
    const isZero = kind === 'uuid' || kind === 'address' || kind === 'counters';
    return isZero || property.endsWith('Start') || !mayBeAbsent(name) ? '0' : '-1';
  });
}

function propertyLines(name: FieldName): string {
  const values = absentValues(name);
  const { description } = fieldOf(name);
  const lines = viewNames(name).map((each, i) => `  ${each} = ${values[i]};`);
  return [`  /** ${description[0]?.toUpperCase()}${description.slice(1)}. */`, ...lines].join('\n');
}

/** Statements that set a field of `view` from `event`, which the schema has accepted. */
function fill(name: FieldName): string {
  const { part, value } = fieldOf(name);
  const { kind, nullable } = value;
  const from = part === 'interval' ? 'interval' : part === 'closing' ? 'closed' : 'event';
  const isPartial = from !== 'event';
  const read = isPartial ? `${from}?.${name} ?? null` : `event.${name}`;
  const isAbsent = mayBeAbsent(name);
  const properties = viewNames(name).map((each) => `view.${each}`);
  const [first] = properties;
  switch (kind) {
    case 'text':
      return `  [${properties.join(', ')}] = ${isAbsent ? 'placeOrNull' : 'place'}(${read});`;
    case 'uuid':
      return `  [${properties.join(', ')}] = uuidWords(${read});`;
    case 'address':
      if (nullable !== true) return `  [${properties.join(', ')}] = addressWords(${read});`;
      return `  ${first} = ${read} !== null;
  if (${read} !== null) [${properties.slice(1).join(', ')}] = addressWords(${read});`;
    case 'time':
      return isAbsent
        ? `  ${first} = ${from} === null ? -1 : Date.parse(${from}.${name});`
        : `  ${first} = Date.parse(${read});`;
    case 'choice':
      return isAbsent
        ? `  ${first} = ${from} === null ? -1 : FIELDS.${name}.value.values.indexOf(${from}.${name});`
        : `  ${first} = FIELDS.${name}.value.values.indexOf(${read});`;
    case 'flag':
      return `  ${first} = ${from}?.${name} === true ? 1 : 0;`;
    case 'integer':
      return `  ${first} = ${isPartial ? `${from}?.${name}` : read}${isAbsent ? ' ?? -1' : ''};`;
    case 'counters':
      return COUNTER_NAMES.map(
        (counter, i) => `  ${properties[i]} = ${from}?.${name}.${counter} ?? 0;`,
      ).join('\n');
  }
}

function clear(part: string, names: readonly FieldName[]): string {
  const lines = names.flatMap((name) => {
    const values = absentValues(name);
    return viewNames(name).flatMap((each, i) =>
      each.endsWith('Start') ? [] : [`  view.${each} = ${values[i]};`],
    );
  });
  return `export function clear${part}(view: EventView): void {
${lines.join('\n')}
}`;
}

/** The flat form of an event in ingest, and how it is filled from one that zod has parsed. */
export function eventViewSource(): string {
  const filled = (names: readonly FieldName[]) =>
    names
      .filter((name) => VIEWED.includes(name))
      .map(fill)
      .join('\n');
  return `${generatedBy('event-view')}
${importLine('{ FIELDS }', '@sockscope/schemas')}
${importLine('type { SessionEvent }', '@sockscope/schemas')}
${importLine('{ parseIpv6Words }', '@sockscope/schemas/net')}

/**
 * A valid event, flat, in one object that is reused for every record: the values that the fold and the
 * columns need, as numbers and as places in \`text\`. Texts are UTF-8 without JSON's escapes. Ids and
 * addresses are four big-endian words, with IPv4 mapped into IPv6. A choice is its place among the
 * values of its field.
 *
 * Absent times, numbers and choices are -1, and so is the length of an absent text.
 */
export class EventView {
  /** Positions of the texts. Valid until the next event. */
  text: Uint8Array = new Uint8Array(0);
${VIEWED.map(propertyLines).join('\n')}
}

/** Forgets the fields that only TrafficDelta and SessionClosed have. */
${clear('Interval', INTERVAL)}

/** Forgets the fields that only SessionClosed has. */
${clear('Closing', CLOSING)}

function addressWords(text: string): readonly [number, number, number, number] {
  const words = parseIpv6Words(text);
  if (words === null) throw new Error(\`zod takes \${text} for an address\`);
  return words;
}

function uuidWords(id: string): [number, number, number, number] {
  const digits = id.replaceAll('-', '');
  const word = (i: number) => Number.parseInt(digits.slice(8 * i, 8 * i + 8), 16);
  return [word(0), word(1), word(2), word(3)];
}

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
  const interval = event.type === 'SessionStarted' ? null : event;
  const closed = event.type === 'SessionClosed' ? event : null;
${filled(COMMON)}
${filled(INTERVAL)}
${filled(CLOSING)}
  view.text = Buffer.concat(texts, length);
}
`;
}
