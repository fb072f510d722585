#!/usr/bin/env node
import { createProgram } from '@sockscope/runtime';
import { registerClickHouseCheck } from '@sockscope/runtime/clickhouse';
import { registerKafkaCheck } from '@sockscope/runtime/kafka';
import { ingestConfig } from './config.js';
import { registerRewind } from './consume/rewind-command.js';
import { registerDlq } from './dlq/command.js';
import { registerForget } from './forget/command.js';
import { registerMaintenance } from './maintenance/command.js';
import { registerGrants } from './migrations/grants.js';
import { registerMigrate } from './migrations/command.js';
import { registerRollups } from './rollups/command.js';
import { createIngest } from './service.js';
import { registerSource } from './tables/source-command.js';
import { TABLE_COLUMNS } from './tables/columns.js';
import { planOfIngest, registerTopics } from './topics/command.js';
import { registerSkip } from './waits/skip-command.js';

const program = createProgram({
  name: 'sockscope-ingest',
  description: 'Folds session events from Kafka into ClickHouse.',
  schema: ingestConfig,
  examples: {
    '': '--config ingest.yaml',
    'topics plan': 'topics plan --format strimzi --cluster my-cluster',
    'topics ensure': 'topics ensure',
    'kafka check': 'kafka check',
    'clickhouse check': 'clickhouse check',
    'grants plan': 'grants plan',
    'dlq list': 'dlq list --reason not_json',
    'dlq show': 'dlq show 0:17',
    'dlq replay': 'dlq replay --at 0:17 --dry-run',
    migrate: 'migrate --status',
    rollups: 'rollups --all --threads 2',
    verify: 'verify --from 2026-03-05T00:00:00Z --json',
    rebuild: 'rebuild --from topic',
    source: 'source',
    rewind: 'rewind --to 2026-11-28T01:50:00Z',
    forget: 'forget --user alice --dry-run',
    skip: 'skip --partition 3 --offset 41209',
  },
  run: (config) => createIngest(config).run(),
});
registerTopics(program.command, () => program.config());
registerKafkaCheck(program.command, () => {
  const config = program.config();
  return { kafka: config.kafka, uses: ['consume', 'produce'], ...planOfIngest(config) };
});
registerClickHouseCheck(program.command, () => {
  const tables = Object.keys(TABLE_COLUMNS);
  return { clickhouse: program.config().clickhouse, reads: tables, writes: tables };
});
registerGrants(program.command, () => program.config());
registerDlq(program.command, () => program.config());
registerMigrate(program.command, () => program.config());
registerRollups(program.command, () => program.config());
registerMaintenance(program.command, () => program.config());
registerForget(program.command, () => program.config());
registerSource(program.command, () => program.config());
registerRewind(program.command, () => program.config());
registerSkip(program.command, () => program.config());
await program.main();
