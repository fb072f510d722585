#!/usr/bin/env node
import { createProgram } from '@sockscope/runtime';
import { queryConfig } from './config.js';
import { createQuery } from './service.js';

await createProgram({
  name: 'sockscope-query',
  description: 'Answers questions about proxy sessions over HTTP.',
  schema: queryConfig,
  run: async (config) => (await createQuery(config)).run(),
}).main();
