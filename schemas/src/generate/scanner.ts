import { COUNTER_NAMES } from '../events/counters.js';
import { fieldOf } from '../events/fields.js';
import type { FieldName } from '../events/fields.js';
import { generatedBy, importLine } from './generated-by.js';
import { CLOSING, COMMON, INTERVAL, upper, viewNames } from './view-names.js';

/** Writes the statements that read an event's fields one after the other, with the texts between them. */
class ScannerWriter {
  readonly statements: string[] = [];
  readonly literals = new Map<string, string>();
  readonly choices: string[] = [];
  /** The bytes before the next field: the end of the value before it. */
  #pending = '{';
  #isFirst = true;

  field(name: FieldName): void {
    if (name === 'schema_version') {
      this.#pending += `,"${name}":\${SCHEMA_VERSION}`;
      return;
    }
    const { value } = fieldOf(name);
    const [first = '', ...rest] = viewNames(name).map((each) => `view.${each}`);
    const isQuoted =
      value.nullable !== true && value.kind !== 'integer' && value.kind !== 'counters';
    if (value.optional === true) {
      this.flush();
      this.statements.push(`if (reader.skipIf(${this.#literal(name, `,"${name}":`)})) {`);
      this.#value(name, first, rest);
      const [absent] = viewNames(name).filter((each) => !each.endsWith('Start'));
      this.statements.push(`} else view.${absent} = ${absentValue(value.kind, absent)};`);
      return;
    }
    const opening = value.kind === 'counters' ? `{"${COUNTER_NAMES[0]}":` : isQuoted ? '"' : '';
    const comma = this.#isFirst ? '' : ',';
    this.#isFirst = false;
    this.#skip(name, `${this.#pending}${comma}"${name}":${opening}`);
    this.#pending = isQuoted ? '"' : value.kind === 'counters' ? '}' : '';
    this.#value(name, first, rest);
  }

  /** Passes over the end of the last value. */
  flush(): void {
    if (this.#pending !== '')
      this.#skip(this.#pending === '}' ? 'object_end' : 'text_end', this.#pending);
    this.#pending = '';
  }

  end(): void {
    this.flush();
    this.#skip('object_end', '}');
  }

  #value(name: FieldName, first: string, rest: readonly string[]): void {
    const { value } = fieldOf(name);
    const isNullable = value.nullable === true;
    const words = (properties: readonly string[]) =>
      properties.map((property, i) => `${property} = reader.word${i};`);
    switch (value.kind) {
      case 'text':
        this.statements.push(
          `${rest[0]} = reader.${isNullable ? 'nullableText' : 'text'}(${value.max});`,
          `${first} = reader.start;`,
        );
        return;
      case 'uuid':
        this.statements.push('reader.uuid();', ...words([first, ...rest]));
        return;
      case 'address':
        if (!isNullable) {
          this.statements.push('reader.address();', ...words([first, ...rest]));
          return;
        }
        this.statements.push(
          `${first} = !reader.isNull();`,
          `if (${first}) {`,
          'reader.quotedAddress();',
          ...words(rest),
          '}',
        );
        return;
      case 'time':
        this.statements.push(`${first} = reader.time();`);
        return;
      case 'flag':
        this.statements.push(`${first} = reader.flag() ? 1 : 0;`);
        return;
      case 'choice':
        this.choices.push(`const ${upper(name)}_CHOICES = literals(FIELDS.${name}.value.values);`);
        this.statements.push(`${first} = reader.oneOf(${upper(name)}_CHOICES);`);
        return;
      case 'integer':
        this.statements.push(
          isNullable
            ? `${first} = reader.isNull() ? -1 : reader.integer(${value.max});`
            : `${first} = reader.integer(${value.max});`,
        );
        if (value.min > 0) this.statements.push(`if (${first} < ${value.min}) return false;`);
        return;
      case 'counters':
        for (const [i, counter] of COUNTER_NAMES.entries()) {
          if (i > 0) this.#skip(counter, `,"${counter}":`);
          this.statements.push(
            `${[first, ...rest][i]} = reader.integer(${Number.MAX_SAFE_INTEGER});`,
          );
        }
    }
  }

  #skip(name: string, text: string): void {
    this.statements.push(`reader.skip(${this.#literal(name, text)});`);
  }

  #literal(name: string, text: string): string {
    const known = this.literals.get(text);
    if (known !== undefined) return known;
    this.literals.set(text, upper(name));
    return upper(name);
  }
}

function absentValue(kind: string, property: string | undefined): string {
  if (kind === 'flag') return '0';
  return property?.startsWith('has') === true ? 'false' : '-1';
}

/** Ingest's scanner: reads an event that is spelled as the encoder writes it. */
export function scannerSource(): string {
  const writer = new ScannerWriter();
  for (const name of COMMON) writer.field(name);
  writer.flush();
  writer.statements.push(
    '// Nothing below can repair a mismatch above.',
    'if (reader.at < 0) return false;',
    'if (view.type === TYPE_STARTED) clearInterval(view);',
    'else {',
  );
  for (const name of INTERVAL) writer.field(name);
  writer.flush();
  writer.statements.push('}', 'if (view.type !== TYPE_CLOSED) clearClosing(view);', 'else {');
  for (const name of CLOSING) writer.field(name);
  writer.flush();
  writer.statements.push('}');
  writer.end();
  let depth = 1;
  const body = writer.statements.map((statement) => {
    if (statement.startsWith('}')) depth -= 1;
    const line = `${'  '.repeat(depth)}${statement}`;
    if (statement.endsWith('{')) depth += 1;
    return line;
  });
  return `${generatedBy('scanner')}
${importLine('{ FIELDS, SCHEMA_VERSION }', '@sockscope/schemas')}
${importLine('{ clearClosing, clearInterval }', './event-view.generated.js')}
${importLine('type { EventView }', './event-view.generated.js')}
${importLine('{ literal, literals }', './json-reader.js')}
${importLine('type { JsonReader }', './json-reader.js')}

${[...writer.literals].map(([text, name]) => `const ${name} = literal(\`${text}\`);`).join('\n')}

${writer.choices.join('\n')}

const TYPE_STARTED = FIELDS.type.value.values.indexOf('SessionStarted');
const TYPE_CLOSED = FIELDS.type.value.values.indexOf('SessionClosed');

/** Whether the reader's bytes are an event as the encoder writes it; \`view\` holds it then. Rules between fields are not checked. */
export function scanFields(reader: JsonReader, view: EventView): boolean {
${body.join('\n')}
  return reader.at >= 0;
}
`;
}
