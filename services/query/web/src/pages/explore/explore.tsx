import type { Stats, Traffic } from '@sockscope/schemas/api';
import { useMemo } from 'preact/hooks';
import { useAnswer } from '../../api/use-answer.js';
import { showBytes, showCount, showRate } from '../../format/numbers.js';
import type { Shown } from '../../format/numbers.js';
import { question } from '../../state/filters.js';
import type { FilterEntry } from '../../state/filters.js';
import { change, isComparing, zone } from '../../state/location.js';
import { language, t } from '../../text/text.js';
import { Chart } from '../../widgets/chart.js';
import { Choice, chosen } from '../../widgets/choice.js';
import { Heatmap } from '../../widgets/heatmap.js';
import { Panel } from '../../widgets/panel.js';
import { summaryOf } from '../../widgets/series.js';
import type { Series } from '../../widgets/series.js';
import { useNotes } from '../notes.js';
import { isUnfinished, ratesOf, useColours, usePrevious, useTimes } from '../traffic-chart.js';
import { Explanation } from './explanation.js';
import { Flows } from './flows.js';
import { isBytes, MEASURES, TOP_PATHS } from './measures.js';
import type { Measure, Split } from './measures.js';
import { TopTable } from './top-table.js';

const SPLITS = ['none', ...(Object.keys(TOP_PATHS) as Split[])] as const;
const PICTURES = ['area', 'lines', 'table', 'sankey', 'heatmap'] as const;
const CATEGORIES = '5';
const POINTS = '200';

/** Any measure, split by any field, as a picture. A drag over a peak explains it. */
export function Explore() {
  const measure = chosen('measure', MEASURES);
  const split = chosen('split', SPLITS);
  const picture = chosen('picture', PICTURES);
  useNotes();
  return (
    <>
      <h1>{t.value.nav.explore}</h1>
      <div class="actions">
        <Choice
          name="measure"
          values={MEASURES}
          label={t.value.explore.measure}
          textOf={(value) => t.value.measure[value]}
        />
        <Choice
          name="split"
          values={SPLITS}
          label={t.value.explore.split}
          textOf={(value) => (value === 'none' ? t.value.explore.none : t.value.field[value])}
        />
        <Choice
          name="picture"
          values={PICTURES}
          label={t.value.explore.picture}
          textOf={(value) => t.value.explore.pictures[value]}
        />
      </div>
      <Explanation measure={measure} />
      {picture === 'sankey' ? (
        <Flows measure={measure} />
      ) : picture === 'heatmap' ? (
        <Hours measure={measure} />
      ) : picture === 'table' && split !== 'none' ? (
        <TopTable measure={measure} split={split} />
      ) : (
        <Lines measure={measure} split={split} picture={picture} />
      )}
    </>
  );
}

/** A part of a chart that is dragged over is explained; the explanation offers to look closer. */
function explain(fromMs: number, toMs: number): void {
  change({
    explain: `${new Date(fromMs).toISOString()}/${new Date(toMs).toISOString()}`,
  });
}

function Lines(props: {
  readonly measure: Measure;
  readonly split: (typeof SPLITS)[number];
  readonly picture: (typeof PICTURES)[number];
}) {
  const { measure, split, picture } = props;
  const own: FilterEntry[] =
    split === 'none'
      ? []
      : [
          ['split', split],
          ['series', CATEGORIES],
          ['sort', measure],
        ];
  const answer = useAnswer<Traffic>('/traffic', [...question.value, ['points', POINTS], ...own]);
  const stats = useAnswer<Stats>(isComparing.value ? '/stats' : null, question.value, 0);
  const previous = usePrevious(
    stats.loaded.value?.previous_range ?? null,
    answer.loaded.value?.interval,
  );
  return (
    <Panel
      title={t.value.measure[measure]}
      {...answer}
      isRanged
      isEmpty={({ series }) => series.length === 0}
    >
      {(value) => (
        <Picture
          traffic={value}
          previous={split === 'none' ? previous : null}
          measure={measure}
          isStacked={picture === 'area'}
          isTable={picture === 'table'}
        />
      )}
    </Panel>
  );
}

function Picture(props: {
  readonly traffic: Traffic;
  readonly previous: Traffic | null;
  readonly measure: Measure;
  readonly isStacked: boolean;
  readonly isTable: boolean;
}) {
  const { traffic, previous, measure, isStacked, isTable } = props;
  const times = useTimes(traffic);
  const named = traffic.series.filter(({ other }) => !other);
  const colours = useColours(
    traffic.split,
    named.map(({ key }) => String(key ?? '')),
  );
  const series = useMemo((): Series[] => {
    const valuesOf = (of: Traffic, at: number): readonly number[] => {
      const values = of.series[at]?.[measure] ?? [];
      return isBytes(measure) ? ratesOf(of, values) : values;
    };
    const now = traffic.series.map((each, at) => ({
      label: each.other
        ? t.value.other
        : traffic.split === null
          ? t.value.measure[measure]
          : String(each.key ?? '–'),
      colour: each.other ? 'other' : (colours[named.indexOf(each)] ?? 'other'),
      values: valuesOf(traffic, at),
    }));
    if (previous === null) return now;
    const before = valuesOf(previous, 0);
    return [
      ...now,
      {
        label: t.value.before,
        colour: 'category-1',
        values: times.map((_, at) => before[at] ?? null),
        isBefore: true,
      },
    ];
  }, [traffic, previous, measure, t.value, colours.join()]);
  const show = useMemo(
    () => (value: number) =>
      isBytes(measure) ? showRate(value, language.value) : showCount(value, language.value),
    [measure],
  );
  return (
    <>
      <Chart
        key={String(isTable)}
        name={t.value.measure[measure]}
        times={times}
        series={series}
        isStacked={isStacked}
        isTable={isTable}
        isUnfinished={isUnfinished(traffic)}
        show={show}
        onSelect={explain}
        height={320}
      />
      <p class="muted">{t.value.explore.drag}</p>
      <Summaries series={series} show={show} />
    </>
  );
}

const SUMMARIES = ['min', 'mean', 'max', 'p95'] as const;

function Summaries(props: {
  readonly series: readonly Series[];
  readonly show: (value: number) => Shown;
}) {
  const text = (value: number): string => {
    const { digits, unit } = props.show(value);
    return `${digits} ${unit}`;
  };
  return (
    <div class="wide" tabIndex={0} role="group" aria-label={t.value.explore.summary}>
      <table class="cards">
        <caption class="visually-hidden">{t.value.explore.summary}</caption>
        <thead>
          <tr>
            <th scope="col">{t.value.explore.series}</th>
            {SUMMARIES.map((name) => (
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
                  <i
                    class={`swatch ${each.colour}${each.isBefore === true ? ' dashed' : ''}`}
                    aria-hidden="true"
                  />{' '}
                  <bdi>{each.label}</bdi>
                </th>
                {SUMMARIES.map((name) => (
                  <td key={name} class="number" data-label={t.value.explore.summaries[name]}>
                    {summary === null ? '–' : text(summary[name])}
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

/** Hour by weekday. */
function Hours({ measure }: { readonly measure: Measure }) {
  const answer = useAnswer<Traffic>('/traffic', [...question.value, ['interval', '1h']], 0);
  return (
    <Panel title={t.value.explore.hours(t.value.measure[measure])} {...answer} isRanged>
      {(value) => <HourTable traffic={value} measure={measure} />}
    </Panel>
  );
}

function HourTable(props: { readonly traffic: Traffic; readonly measure: Measure }) {
  const { traffic, measure } = props;
  return (
    <Heatmap
      name={t.value.explore.hours(t.value.measure[measure])}
      times={useTimes(traffic)}
      values={traffic.series[0]?.[measure] ?? []}
      zone={zone.value}
      show={(value) =>
        isBytes(measure) ? showBytes(value, language.value) : showCount(value, language.value)
      }
    />
  );
}
