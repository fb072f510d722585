import { describe, expect, it } from 'vitest';
import { openApiDocument } from '../testing/document.js';

interface Schema {
  readonly $ref?: string;
  readonly examples?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
}
interface Document {
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
  readonly paths: Readonly<
    Record<
      string,
      {
        readonly get?: {
          readonly responses: Readonly<
            Record<string, { readonly content: Readonly<Record<string, { schema: Schema }>> }>
          >;
        };
      }
    >
  >;
}

describe('the OpenAPI document', () => {
  it('has an example of the answer of each route', async () => {
    const document = (await openApiDocument()) as unknown as Document;
    const { schemas } = document.components;
    const resolved = ({ $ref, ...schema }: Schema): Schema =>
      $ref === undefined ? schema : (schemas[$ref.replace('#/components/schemas/', '')] ?? {});
    const lacking = Object.entries(document.paths).flatMap(([path, { get }]) => {
      if (get === undefined) return [];
      const answers = Object.values(get.responses['200']?.content ?? {});
      // If there are several shapes, the first one has it.
      const hasExample = answers.some(({ schema }) =>
        [schema, ...(schema.anyOf ?? [])].some(
          (each) => (resolved(each).examples ?? []).length > 0,
        ),
      );
      return hasExample ? [] : [path];
    });
    expect(Object.keys(document.paths).length).toBeGreaterThanOrEqual(18);
    expect(lacking).toEqual([]);
  });
});
