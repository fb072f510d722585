/** The expressions of Prometheus's rules and of Grafana's dashboards. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

const INFRA = fileURLToPath(new URL('../../../infra', import.meta.url));

export const RULES_DIR = join(INFRA, 'prometheus/rules');
export const DASHBOARDS_DIR = join(INFRA, 'grafana/dashboards');

export interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Panel {
  readonly title: string;
  readonly type: string;
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly { readonly expr: string }[];
}

export interface Dashboard {
  readonly file: string;
  readonly uid: string;
  readonly panels: readonly Panel[];
}

export function readRules(): Rule[] {
  return readdirSync(RULES_DIR).flatMap((file) => {
    const text = readFileSync(join(RULES_DIR, file), 'utf8');
    return (parse(text) as { groups: { rules: Rule[] }[] }).groups.flatMap(({ rules }) => rules);
  });
}

export function readDashboards(): Dashboard[] {
  return readdirSync(DASHBOARDS_DIR).map((file) => ({
    ...(JSON.parse(readFileSync(join(DASHBOARDS_DIR, file), 'utf8')) as Omit<Dashboard, 'file'>),
    file,
  }));
}

/**
 * Every expression, with the interval that Grafana would choose. An alert answers only when something
 * is wrong, so the value that it compares stands for it.
 */
export function readExpressions(): { readonly from: string; readonly expr: string }[] {
  const rules = readRules().map(({ record, alert, expr }) => ({
    from: record ?? alert ?? '',
    expr: alert === undefined ? expr : valueOf(expr),
  }));
  const panels = readDashboards().flatMap(({ file, panels: all }) =>
    all.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr }) => ({
        from: `${file}: ${title}`,
        expr: expr.replaceAll('$__rate_interval', '1m'),
      })),
    ),
  );
  return [...rules, ...panels];
}

function valueOf(condition: string): string {
  const value = /^(?<value>[\s\S]+) (?:==|<|>) [\d.* ]+$/.exec(condition.trim())?.groups?.['value'];
  if (value === undefined) throw new Error(`not a comparison with a number: ${condition}`);
  return value;
}

export interface InfinityPanel {
  readonly targets: readonly {
    readonly url: string;
    readonly root_selector: string;
    readonly columns: readonly { readonly selector: string; readonly type: string }[];
  }[];
}

/** The panel whose data source asks the API. */
export function readInfinityPanel(): InfinityPanel {
  const file = join(INFRA, 'grafana/infinity/top-destinations.json');
  return JSON.parse(readFileSync(file, 'utf8')) as InfinityPanel;
}
