import { mkdirSync, writeFileSync } from 'node:fs';
import { jsonSchemaFiles } from './json-schemas.js';

const folder = new URL('../../json/', import.meta.url);
mkdirSync(folder, { recursive: true });
for (const [name, text] of jsonSchemaFiles()) writeFileSync(new URL(name, folder), text);
