#!/usr/bin/env node
import { createProgram } from '@sockscope/runtime';
import { registerClickHouseCheck } from '@sockscope/runtime/clickhouse';
import { registerKeys } from './auth/command.js';
import { registerEvidenceKey } from './evidence/command.js';
import { queryConfig } from './config.js';
import { createQuery } from './service.js';
import { ANSWER_TABLES, WRITTEN_TABLES } from './store/rights.js';

const program = createProgram({
  name: 'sockscope-query',
  description: 'Serves the dashboard and the HTTP API.',
  schema: queryConfig,
  examples: {
    '': '--config query.yaml',
    'keys create': 'keys create --name grafana --scope read --expires 90d',
    'keys list': 'keys list',
    'keys revoke': 'keys revoke 4f1c9a02b7de',
    'clickhouse check': 'clickhouse check',
    'evidence-key create': 'evidence-key create --file evidence-key.json',
    'evidence-key rotate': 'evidence-key rotate --file evidence-key.json',
  },
  run: async (config) => (await createQuery(config)).run(),
});
registerKeys(program.command, () => program.config());
registerClickHouseCheck(program.command, () => ({
  clickhouse: program.config().clickhouse,
  reads: ANSWER_TABLES,
  writes: WRITTEN_TABLES,
}));
registerEvidenceKey(program.command);
await program.main();
