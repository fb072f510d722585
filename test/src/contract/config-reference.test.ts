import { expect, test } from 'vitest';
import { answerSources } from './answer-sources.js';
import { commandReference } from './command-reference.js';
import { configReference } from './config-reference.js';
import { kafkaSupport } from './kafka-support.js';
import { metricReference } from './metric-reference.js';
import { readText, repositoryFiles } from './repository.js';

test('the configuration reference matches the schemas (else: npm run generate)', async () => {
  await expect(await configReference()).toMatchFileSnapshot(
    '../../../docs/reference/configuration.md',
  );
});

test('the matrix of supported brokers matches the clients (else: npm run generate)', async () => {
  await expect(kafkaSupport()).toMatchFileSnapshot('../../../docs/reference/kafka-support.md');
});

test('the table of the sources of answers matches the query service (else: npm run generate)', async () => {
  await expect(await answerSources()).toMatchFileSnapshot(
    '../../../docs/reference/answer-sources.md',
  );
});

test('the reference of commands matches --help (else: npm run generate)', async () => {
  await expect(commandReference()).toMatchFileSnapshot('../../../docs/reference/commands.md');
});

test('the reference of metrics names every metric with its help (else: npm run generate)', async () => {
  const text = metricReference();
  await expect(text).toMatchFileSnapshot('../../../docs/reference/metrics.md');
  const used = repositoryFiles('infra/prometheus/rules/*.yaml', 'infra/grafana/dashboards/*.json')
    .flatMap((file) => readText(file).match(/\bsockscope_(?:proxy|ingest|query)_\w+/g) ?? [])
    .map((name) => name.replace(/_(?:bucket|sum|count)$/, ''));
  expect(used.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
});
