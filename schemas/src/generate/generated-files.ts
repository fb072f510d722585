import { columnsSource } from './columns.js';
import { encoderSource } from './encoder.js';
import { eventViewSource } from './event-view.js';
import { jsonSchemaFiles } from './json-schemas.js';
import { scannerSource } from './scanner.js';

/** Every file that is made from the table of fields and committed, by its path in the repository. */
export function generatedFiles(): Map<string, string> {
  const schemas = [...jsonSchemaFiles()].map(
    ([name, text]) => [`schemas/json/${name}`, text] as const,
  );
  return new Map([
    ...schemas,
    ['services/proxy/src/events/fields.generated.ts', encoderSource()],
    ['services/ingest/src/decode/event-view.generated.ts', eventViewSource()],
    ['services/ingest/src/decode/scan.generated.ts', scannerSource()],
    ['services/ingest/src/tables/columns.generated.ts', columnsSource()],
  ]);
}
