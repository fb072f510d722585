import { encoderSource } from './encoder.js';
import { jsonSchemaFiles } from './json-schemas.js';

/** Every file that is made from the table of fields and committed, by its path in the repository. */
export function generatedFiles(): Map<string, string> {
  const schemas = [...jsonSchemaFiles()].map(
    ([name, text]) => [`schemas/json/${name}`, text] as const,
  );
  return new Map([...schemas, ['services/proxy/src/events/encode.generated.ts', encoderSource()]]);
}
