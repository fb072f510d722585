import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findProgram } from '../support/programs.js';
import { readDashboards, readExpressions, readRules } from '../support/watching.js';
import { readText, repositoryFiles, ROOT } from './repository.js';

const promtool = findProgram('promtool');
if (promtool === null) {
  console.warn('promtool is missing: the alert rules are not tested (apt-get install prometheus)');
}

/** The names of metrics in the code; a part that is put in at run time stands for any word. */
const declared = repositoryFiles('services/*/src/**/*.ts')
  .filter((file) => !/\.test\.ts$|\/testing\//.test(file))
  .flatMap((file) => [
    ...readText(file).matchAll(/name: [`'](sockscope_[^`']+)[`']|'(sockscope_\w+)'/g),
  ])
  .map((match) => match[1] ?? match[2] ?? '')
  .map((name) => new RegExp(`^${name.replaceAll(/\$\{\w+\}/g, '[a-z]+')}$`));
/** Metrics of prom-client, with our prefix. */
const PROCESS = /^sockscope_(?:process|nodejs)_/;

const records = new Set(readRules().map(({ record }) => record));
const alerts = readRules().filter(({ alert }) => alert !== undefined);

describe('the rules and dashboards', () => {
  test('name only metrics that the code has', () => {
    const named = readExpressions().flatMap(({ expr }) => expr.match(/\bsockscope_\w+/g) ?? []);
    const unknown = [...new Set(named)]
      .map((name) => name.replace(/_(?:bucket|count|sum)$/, ''))
      .filter((name) => !PROCESS.test(name) && !declared.some((pattern) => pattern.test(name)));
    expect(named.length).toBeGreaterThan(50);
    expect(unknown).toEqual([]);
  });

  test('name only records that there are', () => {
    const named = readExpressions().flatMap(
      ({ expr }) => expr.match(/\bsockscope:\w[\w:]*/g) ?? [],
    );
    expect(named.filter((name) => !records.has(name))).toEqual([]);
  });

  test('the dashboards ask the provisioned data source only', () => {
    const uid = /uid: (\w+)/.exec(
      readText('infra/grafana/provisioning/datasources/sockscope.yaml'),
    );
    for (const { panels } of readDashboards()) {
      const asked = panels.flatMap(({ datasource }) => datasource?.uid ?? []);
      expect(asked.length).toBeGreaterThan(0);
      expect(new Set(asked)).toEqual(new Set([uid?.[1]]));
    }
  });

  test('every alert has a severity, a summary and a section in the runbooks', () => {
    for (const { alert, labels, annotations } of alerts) {
      expect(['page', 'ticket'], alert).toContain(labels?.['severity']);
      expect(annotations?.['summary'], alert).toBeTruthy();
      const [file = '', anchor] = annotations?.['runbook']?.split('#') ?? [];
      expect(anchor).toBe(alert?.toLowerCase());
      expect(readText(file)).toContain(`\n## ${alert ?? ''}\n`);
    }
  });

  test('every section of the runbooks belongs to an alert', () => {
    const sections = [...readText('docs/11-runbooks.md').matchAll(/^## (Sockscope\w+)$/gm)];
    const names = new Set(alerts.map(({ alert }) => alert));
    expect(sections.map((match) => match[1]).filter((name) => !names.has(name))).toEqual([]);
  });

  test.skipIf(promtool === null)('promtool finds the rules valid, and its tests pass', () => {
    const rules = repositoryFiles('infra/prometheus/rules/*').map((file) => join(ROOT, file));
    const tests = repositoryFiles('infra/prometheus/tests/*').map((file) => join(ROOT, file));
    expect(rules).not.toEqual([]);
    for (const args of [
      ['check', 'rules', '--lint=all', '--lint-fatal', ...rules],
      ['test', 'rules', ...tests],
    ]) {
      const { status, stdout, stderr } = spawnSync(promtool ?? '', args, { encoding: 'utf8' });
      expect({ status, output: status === 0 ? '' : stdout + stderr }).toEqual({
        status: 0,
        output: '',
      });
    }
  });
});
