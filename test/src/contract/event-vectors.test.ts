/**
 * The vectors for producers in other languages, held against a JSON Schema validator that is not ours,
 * and against ingest's decoder.
 */
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { describe, expect, test } from 'vitest';
import { readText, repositoryFiles, ROOT } from './repository.js';

interface Vector {
  readonly name: string;
  readonly event: Readonly<Record<string, unknown>>;
}
interface InvalidVector extends Vector {
  /** The field that the reason is about. */
  readonly field: string;
  /** `rule`: JSON Schema cannot express it. */
  readonly refused_by: 'schema' | 'rule';
}

const valid = JSON.parse(readText('schemas/vectors/valid.v1.json')) as Vector[];
const invalid = JSON.parse(readText('schemas/vectors/invalid.v1.json')) as InvalidVector[];
const recorded = readText('schemas/vectors/recorded.v1.ndjson')
  .trim()
  .split('\n')
  .map((line): Vector => ({ name: 'recorded', event: JSON.parse(line) as Vector['event'] }));

const ajv = new Ajv2020({ allErrors: true, strict: true });
addFormats.default(ajv);
const validators = new Map<unknown, ValidateFunction>(
  repositoryFiles('schemas/json/*.json').map((path) => {
    const schema = JSON.parse(readText(path)) as { properties: { type: { const: string } } };
    return [schema.properties.type.const, ajv.compile(schema)];
  }),
);
const ofAnyType = [...validators.values()];

/** The errors of a JSON Schema validator; empty if there are none. */
function schemaErrors({ event }: Vector): string[] {
  const validate = validators.get(event['type']) ?? ofAnyType[0];
  if (validate === undefined) throw new Error('there is no schema');
  validate(event);
  return (validate.errors ?? []).map(({ instancePath, params, message }) => {
    const missing = (params as { missingProperty?: string }).missingProperty;
    return `${instancePath}/${missing ?? ''}: ${message ?? ''}`;
  });
}

/** The compiled files, because a service offers nothing to others. */
async function ingestModule<T>(path: string): Promise<T> {
  return (await import(pathToFileURL(join(ROOT, 'services/ingest/dist', path)).href)) as T;
}

async function createDecode(): Promise<(vector: Vector) => string | null> {
  type Poison = { readonly reason: string; readonly detail: string } | null;
  const { createDecoder } = await ingestModule<{
    createDecoder: (view: object) => { decode: (b: Buffer, from: number, n: number) => Poison };
  }>('decode/decode-event.js');
  const { EventView } = await ingestModule<{ EventView: new () => object }>(
    'decode/event-view.generated.js',
  );
  const decoder = createDecoder(new EventView());
  return ({ event }) => {
    const bytes = Buffer.from(JSON.stringify(event));
    const poison = decoder.decode(bytes, 0, bytes.length);
    return poison === null ? null : `${poison.reason}: ${poison.detail}`;
  };
}

describe('event vectors', () => {
  test('a JSON Schema validator accepts every valid and every recorded event', () => {
    for (const vector of [...valid, ...recorded]) {
      expect(schemaErrors(vector), vector.name).toEqual([]);
    }
  });

  test('a JSON Schema validator refuses the events marked `schema`, names the field, and accepts the others', () => {
    for (const vector of invalid) {
      const errors = schemaErrors(vector);
      if (vector.refused_by === 'rule') expect(errors, vector.name).toEqual([]);
      else expect(errors.join('\n'), vector.name).toContain(vector.field);
    }
  });

  test('ingest reads every valid and every recorded event', async () => {
    const decode = await createDecode();
    for (const vector of [...valid, ...recorded]) {
      expect(decode(vector), vector.name).toBeNull();
    }
  });

  test('ingest refuses every invalid event, naming the field', async () => {
    const decode = await createDecode();
    for (const vector of invalid) {
      const reason = decode(vector);
      expect(reason, vector.name).toMatch(/^invalid: /);
      expect(reason, vector.name).toContain(vector.field);
    }
  });

  test('every vector has its own description', () => {
    const names = [...valid, ...invalid].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(invalid.map((vector) => vector.refused_by))).toEqual(
      new Set(['schema', 'rule']),
    );
  });
});
