#!/usr/bin/env node
import { createProgram } from '@sockscope/runtime';
import { ingestConfig } from './config.js';
import { registerDlq } from './dlq/command.js';
import { registerMaintenance } from './maintenance/command.js';
import { registerMigrate } from './migrations/command.js';
import { registerRollups } from './rollups/command.js';
import { createIngest } from './service.js';
import { registerSource } from './tables/source-command.js';
import { registerTopics } from './topics/command.js';
import { registerSkip } from './waits/skip-command.js';

const program = createProgram({
  name: 'sockscope-ingest',
  description: 'Folds session events from Kafka into ClickHouse.',
  schema: ingestConfig,
  run: (config) => createIngest(config).run(),
});
registerTopics(program.command, () => program.config());
registerDlq(program.command, () => program.config());
registerMigrate(program.command, () => program.config());
registerRollups(program.command, () => program.config());
registerMaintenance(program.command, () => program.config());
registerSource(program.command, () => program.config());
registerSkip(program.command, () => program.config());
await program.main();
