import { COUNTER_NAMES } from '../events/counters.js';
import { FIELD_NAMES, fieldOf, namesIn } from '../events/fields.js';
import type { FieldName } from '../events/fields.js';
import { generatedBy, importLine } from './generated-by.js';
import { mayBeAbsent, viewNames } from './view-names.js';

/** A new column for a field. */
function columnSource(name: FieldName): string {
  const { value } = fieldOf(name);
  const isNullable = mayBeAbsent(name);
  const values = `FIELDS.${name}.value.values`;
  switch (value.kind) {
    case 'text':
      if (value.column === 'String' && !isNullable) return 'new TextColumn()';
      return `new DictionaryColumn(${isNullable ? 'true' : ''})`;
    case 'choice':
      return isNullable
        ? `new ChoiceColumn(['', ...${values}], true)`
        : `new ChoiceColumn(${values})`;
    case 'uuid':
      return 'new UuidColumn()';
    default: {
      const inner = plainColumn(name);
      return isNullable && value.kind !== 'counters' ? `new NullableColumn(${inner})` : inner;
    }
  }
}

function plainColumn(name: FieldName): string {
  const { value } = fieldOf(name);
  const type = value.column.replace(/^Nullable\((.*)\)$/, '$1');
  if (value.kind === 'address') return 'new Ipv6Column()';
  if (type === 'UInt8') return 'new Uint8Column()';
  if (type === 'UInt16') return 'new Uint16Column()';
  return `new ${type === 'UInt32' ? 'Uint32Column' : 'Uint64Column'}(${JSON.stringify(type)})`;
}

function columnLines(name: FieldName): string[] {
  const { description, value } = fieldOf(name);
  if (value.kind !== 'counters')
    return [`  /** ${description} */`, `  ${name}: ${columnSource(name)},`];
  return COUNTER_NAMES.map((counter) => `  ${name}_${counter}: ${columnSource(name)},`);
}

function columnSet(doc: string, name: string, names: readonly FieldName[]): string {
  return `/** ${doc} */
export const ${name} = () => ({
${names.flatMap(columnLines).join('\n')}
});`;
}

/** Statements that set a field of a row of \`session_events\`. */
function setLines(name: FieldName): string[] {
  if (name === 'schema_version') return ['  c.schema_version.set(row, SCHEMA_VERSION);'];
  const { value } = fieldOf(name);
  const isAbsent = mayBeAbsent(name);
  const properties = viewNames(name).map((each) => `event.${each}`);
  const [first] = properties;
  switch (value.kind) {
    case 'text':
      return isAbsent
        ? [`  setText(c.${name}, row, text, ${properties.join(', ')});`]
        : [`  c.${name}.set(row, text, ${properties.join(', ')});`];
    case 'uuid':
      return [`  c.${name}.set(row, ${properties.join(', ')});`];
    case 'address':
      return isAbsent
        ? [
            `  if (${first}) c.${name}.present(row).set(row, ${properties.slice(1).join(', ')});`,
            `  else c.${name}.clear(row);`,
          ]
        : [`  c.${name}.set(row, ${properties.join(', ')});`];
    case 'time':
    case 'integer':
      return isAbsent
        ? [`  setNumber(c.${name}, row, ${first});`]
        : [`  c.${name}.set(row, ${first});`];
    case 'flag':
      return [`  c.${name}.set(row, ${first});`];
    case 'choice':
      // -1 if there is none, and null stands before the choices.
      return [`  c.${name}.set(row, ${first}${isAbsent ? ' + 1' : ''});`];
    case 'counters':
      return COUNTER_NAMES.map(
        (counter, i) => `  c.${name}_${counter}.set(row, ${properties[i]});`,
      );
  }
}

/** A condition that holds if a field of the header changed between a row and an event in a way that it may not. */
function changeCondition(name: FieldName): string {
  const { changes, value } = fieldOf(name);
  const [first, ...rest] = viewNames(name).map((each) => `event.${each}`);
  const values = (
    value.nullable === true && value.kind === 'address' ? rest : [first, ...rest]
  ).join(', ');
  const args = value.kind === 'text' ? `text, ${values}` : values;
  if (value.nullable !== true) return `!c.${name}.is(row, ${args})`;
  const isPresent = value.kind === 'address' ? first : `${first} >= 0`;
  const isOther = `!c.${name}.values.is(row, ${args})`;
  // A field that is learned may differ in one way only: null in the older event.
  const [appeared, vanished] = changes === undefined ? ['', 'true'] : [' && !isNewer', 'isNewer'];
  return `c.${name}.isNull(row) ? ${isPresent}${appeared} : ${isPresent} ? ${isOther} : ${vanished}`;
}

/** Fields that no event of a session may change, except `started_at`, which its id contains. */
const COMPARED = namesIn('origin', 'header').filter(
  (name) => name !== 'started_at' && fieldOf(name).changes !== 'until_end',
);

/** Compared fields that are unknown at first: they change once, from null to a value. */
const LEARNED = COMPARED.filter((name) => fieldOf(name).changes !== undefined);
const LEARNED_BITS = Math.floor(32 / LEARNED.length);

const TRAFFIC = FIELD_NAMES.filter((name) => fieldOf(name).traffic === true);
const CARRIED = namesIn('identity', 'origin', 'header', 'totals', 'closing');
const EVENT = namesIn('envelope', 'identity', 'origin', 'header', 'totals', 'interval', 'closing');

/** Ingest's columns for the tables, and how a row of \`session_events\` is set. */
export function columnsSource(): string {
  return `${generatedBy('columns')}
${importLine('{ FIELDS, SCHEMA_VERSION }', '@sockscope/schemas')}
${importLine('type { EventView }', '../decode/event-view.generated.js')}
${importLine('{ Ipv6Column, Uint16Column, Uint32Column, Uint64Column, Uint8Column, UuidColumn }', './native/numbers.js')}
${importLine('{ NullableColumn, setNumber }', './native/nullable.js')}
${importLine('{ ChoiceColumn, DictionaryColumn, setText }', './native/low-cardinality.js')}
${importLine('{ TextColumn }', './native/text.js')}

${columnSet('The columns that a row of `session_traffic_1m` has from any event of its session.', 'trafficFields', TRAFFIC)}

${columnSet('The columns that a row of `sessions` has from its newest event.', 'sessionFields', CARRIED)}

${columnSet('The columns of `session_events`.', 'eventFields', EVENT)}

/** Sets all columns of a row of \`session_events\`. */
export function setEvent(c: ReturnType<typeof eventFields>, row: number, event: EventView): void {
  const { text } = event;
${EVENT.flatMap(setLines).join('\n')}
}

/** A field that must not change within a session, or only from null to a value. */
export type ComparedField = ${COMPARED.map((name) => `'${name}'`).join(' | ')};

/**
 * The first field in which an event differs from another event of its session, a row, though the
 * contract forbids that; null if there is none.
 *
 * @param isNewer whether the event has a higher seq than the row.
 */
export function forbiddenChange(
  c: ReturnType<typeof eventFields>,
  row: number,
  event: EventView,
  isNewer: boolean,
): ComparedField | null {
  const { text } = event;
${COMPARED.map((name) => `  if (${changeCondition(name)}) return '${name}';`).join('\n')}
  return null;
}

/** Fields that change once, from null to a value. */
export const LEARNED_FIELDS = [${LEARNED.map((name) => `'${name}'`).join(', ')}] as const;

/** Bits that each of them has in \`hashHeader\`. */
export const LEARNED_BITS = ${LEARNED_BITS};

/**
 * Two unsigned integers of 32 bits: a hash of the fields of a row that no event of its session may change, and
 * hashes of LEARNED_FIELDS side by side, the first one lowest; 0 for null.
 */
export function hashHeader(
  c: ReturnType<typeof eventFields>,
  row: number,
): readonly [constant: number, learned: number] {
  let constant = 0;
${COMPARED.filter((name) => fieldOf(name).changes === undefined)
  .map((name) => {
    const args = fieldOf(name).value.nullable === true ? 'row, 32' : 'row';
    return `  constant = Math.imul(constant, 0x01000193) ^ c.${name}.hash(${args});`;
  })
  .join('\n')}
  let learned = 0;
${LEARNED.map((name, i) => `  learned |= c.${name}.hash(row, LEARNED_BITS) << ${i * LEARNED_BITS};`).join('\n')}
  return [constant >>> 0, learned >>> 0];
}
`;
}
