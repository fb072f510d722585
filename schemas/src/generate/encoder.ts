import { COUNTER_NAMES } from '../events/counters.js';
import { fieldOf, namesIn } from '../events/fields.js';
import type { FieldName, Part } from '../events/fields.js';
import { generatedBy, importLine } from './generated-by.js';

/** The place of a field in the proxy's `EventParts`. */
function placeOf(name: FieldName): string {
  const { part, changes } = fieldOf(name);
  const group = name === 'started_at' ? 'moment' : changes === undefined ? part : 'late';
  return `${group}.${name}`;
}

/** The statement that writes a field. */
function statementOf(name: FieldName): string {
  const place = placeOf(name);
  const { kind } = fieldOf(name).value;
  switch (kind) {
    case 'integer':
    case 'time':
      return `out.number(${place});`;
    case 'flag':
      return `out.number(${place} ? 1 : 0);`;
    case 'counters':
      return `putCounters(out, ${place});`;
    case 'text':
    case 'address':
    case 'uuid':
    case 'choice':
      return `out.text(${place});`;
  }
}

function statements(indent: string, ...parts: Part[]): string {
  return namesIn(...parts)
    .map((name) => `${indent}${statementOf(name)}`)
    .join('\n');
}

/** The proxy's encoder of frames. */
export function encoderSource(): string {
  const counters = COUNTER_NAMES.map((name) => `  out.number(counters.${name});`);
  return `${generatedBy('encoder')}
${importLine('type { Counters }', '@sockscope/schemas')}
${importLine('type { EventParts }', './event-parts.js')}
${importLine('type { FieldWriter }', './field-writer.js')}

function putCounters(out: FieldWriter, counters: Counters): void {
${counters.join('\n')}
}

/** Writes the fields that all events of a session have, before its counters. */
export function putSession(
  out: FieldWriter,
  { moment, origin, header, late }: Pick<EventParts, 'moment' | 'origin' | 'header' | 'late'>,
): void {
${statements('  ', 'origin', 'header')}
}

/** Writes the other fields, which follow them. */
export function putCounts(
  out: FieldWriter,
  { totals, interval, closing }: Pick<EventParts, 'totals' | 'interval' | 'closing'>,
): void {
${statements('  ', 'totals')}
  if (interval !== null) {
${statements('    ', 'interval')}
  }
  if (closing !== null) {
${statements('    ', 'closing')}
  }
}
`;
}
