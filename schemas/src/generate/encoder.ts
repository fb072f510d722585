import { COUNTER_NAMES } from '../events/counters.js';
import { fieldOf, namesIn } from '../events/fields.js';
import type { FieldName, Part } from '../events/fields.js';
import { generatedBy, importLine } from './generated-by.js';

/** A field's value as a part of a template literal. Only texts from clients and operators need escaping. */
function templateOf(name: FieldName): string {
  const { kind, nullable } = fieldOf(name).value;
  const value = `event.${name}`;
  switch (kind) {
    case 'text':
    case 'address':
      return nullable === true ? `\${quotedOrNull(${value})}` : `\${quoted(${value})}`;
    case 'integer':
    case 'flag':
      return `\${${value}}`;
    case 'time':
    case 'uuid':
    case 'choice':
      return nullable === true ? `\${quotedOrNull(${value})}` : `"\${${value}}"`;
    case 'counters':
      return `\${countersOf(${value})}`;
  }
}

function templateOfParts(...parts: Part[]): string {
  return namesIn(...parts)
    .map((name) => `"${name}":${templateOf(name)}`)
    .join(',');
}

/** The proxy's encoder. */
export function encoderSource(): string {
  const counters = COUNTER_NAMES.map((name) => `"${name}":\${c.${name}}`).join(',');
  return `${generatedBy('encoder')}
${importLine('type { Counters, SessionClosed, SessionEvent, TrafficDelta }', '@sockscope/schemas')}

/** Printable ASCII that JSON carries as it is. */
const PLAIN = /^[\\x20\\x21\\x23-\\x5b\\x5d-\\x7e]*$/;

function quoted(text: string): string {
  return PLAIN.test(text) ? \`"\${text}"\` : JSON.stringify(text);
}

function quotedOrNull(text: string | null): string {
  return text === null ? 'null' : quoted(text);
}

function countersOf(c: Counters): string {
  return \`{${counters}}\`;
}

function intervalOf(event: TrafficDelta | SessionClosed): string {
  return \`,${templateOfParts('interval')}\`;
}

/**
 * The event as JSON: the same text as \`JSON.stringify\` of it with the schema's order of fields, in a
 * third of the time.
 */
export function encodeEvent(event: SessionEvent): string {
  const common = \`{${templateOfParts('envelope', 'identity', 'origin', 'header', 'totals')}\`;
  switch (event.type) {
    case 'SessionStarted':
      return \`\${common}}\`;
    case 'TrafficDelta':
      return \`\${common}\${intervalOf(event)}}\`;
    case 'SessionClosed':
      return \`\${common}\${intervalOf(event)},${templateOfParts('closing')}}\`;
  }
}
`;
}
