import { z } from 'zod';
import { sessionClosed, sessionStarted, trafficDelta } from '../events/events.js';
import { SCHEMA_VERSION } from '../events/limits.js';

/** The JSON Schema files by name, as they are committed in `schemas/json/`. */
export function jsonSchemaFiles(): Map<string, string> {
  const schemas = {
    'session-started': sessionStarted,
    'traffic-delta': trafficDelta,
    'session-closed': sessionClosed,
  };
  return new Map(
    Object.entries(schemas).map(([name, schema]) => {
      const file = `${name}.v${SCHEMA_VERSION}.schema.json`;
      const body = {
        $id: `urn:sockscope:${name}:v${SCHEMA_VERSION}`,
        // What a producer writes: a field that was added later may be missing.
        ...z.toJSONSchema(schema, { io: 'input' }),
      };
      return [file, `${JSON.stringify(body, null, 2)}\n`];
    }),
  );
}
