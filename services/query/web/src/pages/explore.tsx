import type { Traffic } from '@sockscope/schemas/api';
import { useMemo } from 'preact/hooks';
import { useAnswer } from '../api/use-answer.js';
import { showCount, showRate } from '../format/numbers.js';
import type { Shown } from '../format/numbers.js';
import { filterText, question } from '../state/filters.js';
import { change, params } from '../state/location.js';
import { language, t } from '../text/text.js';
import { Chart } from '../widgets/chart.js';
import { Panel } from '../widgets/panel.js';
import { summaryOf } from '../widgets/series.js';
import type { Series } from '../widgets/series.js';
import { ratesOf, selectRange } from './traffic-chart.js';

const MEASURES = [
  'bytes_received',
  'bytes_sent',
  'sessions_started',
  'sessions_closed',
  'sessions_failed',
  'sessions_rejected',
] as const;
type Measure = (typeof MEASURES)[number];
const SPLITS = [
  'user',
  'dest_host',
  'dest_port',
  'source_ip',
  'protocol',
  'proxy_id',
  'acl_rule_matched',
  'close_reason',
] as const;
const PICTURES = ['area', 'lines'] as const;
const CATEGORIES = 5;

function choiceOf<T extends string>(name: string, values: readonly T[], otherwise: T): T {
  const given = params.value.get(name);
  return values.find((value) => value === given) ?? otherwise;
}

/** Any measure, split by any field, as a picture that can be dragged over. */
export function Explore() {
  const measure = choiceOf('measure', MEASURES, 'bytes_received');
  const split = params.value.get('split') ?? '';
  const known = SPLITS.find((each) => each === split);
  const picture = choiceOf('picture', PICTURES, 'area');
  const answer = useAnswer<Traffic>('/traffic', [
    ...question.value,
    ['points', '200'],
    ...(known === undefined
      ? []
      : ([
          ['split', known],
          ['series', String(CATEGORIES)],
          ['sort', measure],
        ] as const)),
  ]);
  return (
    <>
      <h1>{t.value.nav.explore}</h1>
      <div class="actions">
        <Select
          label={t.value.explore.measure}
          name="measure"
          value={measure}
          options={MEASURES.map((each) => [each, t.value.measure[each]])}
        />
        <Select
          label={t.value.explore.split}
          name="split"
          value={known ?? ''}
          options={[
            ['', t.value.explore.none],
            ...SPLITS.map((each) => [each, t.value.field[each]] as const),
          ]}
        />
        <Select
          label={t.value.explore.picture}
          name="picture"
          value={picture}
          options={PICTURES.map((each) => [each, t.value.explore.pictures[each]])}
        />
      </div>
      <Panel
        title={t.value.measure[measure]}
        {...answer}
        filter={filterText.value}
        isEmpty={({ series }) => series.length === 0}
        note={(value) => (value.incomplete_minutes > 0 ? t.value.state.partial : null)}
      >
        {(value) => <Picture traffic={value} measure={measure} isStacked={picture === 'area'} />}
      </Panel>
    </>
  );
}

function Select(props: {
  readonly label: string;
  readonly name: string;
  readonly value: string;
  readonly options: readonly (readonly [string, string])[];
}) {
  return (
    <label>
      {props.label}{' '}
      <select
        value={props.value}
        onChange={(event) => {
          const { value } = event.currentTarget;
          change({ [props.name]: value === '' ? null : value });
        }}
      >
        {props.options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

function Picture(props: {
  readonly traffic: Traffic;
  readonly measure: Measure;
  readonly isStacked: boolean;
}) {
  const { traffic, measure, isStacked } = props;
  const isBytes = measure.startsWith('bytes_');
  const times = useMemo(() => traffic.buckets.map((each) => Date.parse(each)), [traffic]);
  const series = useMemo(
    (): Series[] =>
      traffic.series.map((each, at) => {
        const values = each[measure] ?? [];
        return {
          label: each.other
            ? t.value.other
            : each.key === null
              ? t.value.measure[measure]
              : String(each.key),
          colour: each.other || at >= CATEGORIES ? 'other' : `category-${at + 1}`,
          values: isBytes ? ratesOf(traffic, values) : values,
        };
      }),
    [traffic, measure, isBytes, t.value],
  );
  const show = useMemo(
    () => (value: number) =>
      isBytes ? showRate(value, language.value) : showCount(value, language.value),
    [isBytes],
  );
  return (
    <>
      <Chart
        name={t.value.measure[measure]}
        times={times}
        series={series}
        isStacked={isStacked}
        show={show}
        onSelect={selectRange}
        height={320}
      />
      <Summaries series={series} show={show} />
    </>
  );
}

function Summaries(props: {
  readonly series: readonly Series[];
  readonly show: (value: number) => Shown;
}) {
  const text = (value: number): string => {
    const { digits, unit } = props.show(value);
    return `${digits} ${unit}`;
  };
  return (
    <table>
      <caption class="visually-hidden">{t.value.explore.summary}</caption>
      <thead>
        <tr>
          <th scope="col">{t.value.explore.split}</th>
          {(['min', 'mean', 'max', 'p95'] as const).map((name) => (
            <th key={name} scope="col" class="number">
              {t.value.explore.summaries[name]}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {props.series.map((each) => {
          const summary = summaryOf(each.values);
          return (
            <tr key={each.label}>
              <th scope="row">
                <i class={`swatch ${each.colour}`} aria-hidden="true" /> <bdi>{each.label}</bdi>
              </th>
              {(['min', 'mean', 'max', 'p95'] as const).map((name) => (
                <td key={name} class="number">
                  {summary === null ? '–' : text(summary[name])}
                </td>
              ))}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
