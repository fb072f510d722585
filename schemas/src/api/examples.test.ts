import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import * as api from './exports.js';

/** Every schema of the API that has a name and examples. */
const schemas = [...Object.values(api), ...Object.values(api.topAnswers)].flatMap((exported) => {
  if (!(exported instanceof z.ZodType)) return [];
  const { id, examples } = exported.meta() ?? {};
  return id === undefined || !Array.isArray(examples)
    ? []
    : [{ id, schema: exported, examples: examples as unknown[] }];
});

describe('examples', () => {
  it('are there', () => {
    expect(schemas.length).toBeGreaterThanOrEqual(22);
  });

  it.each(schemas)('of $id are valid, and have nothing more', ({ schema, examples }) => {
    for (const example of examples) expect(schema.parse(example)).toEqual(example);
  });
});
