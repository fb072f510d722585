import type { Stats, Traffic } from '@sockscope/schemas/api';
import { useMemo } from 'preact/hooks';
import { useAnswer } from '../api/use-answer.js';
import type { Answer } from '../api/use-answer.js';
import { showBytes, showCount } from '../format/numbers.js';
import type { FilterEntry } from '../state/filters.js';
import { exactly, filters, question } from '../state/filters.js';
import { hrefOf, range } from '../state/location.js';
import { isTied } from '../state/me.js';
import { language, t } from '../text/text.js';
import { Chart } from '../widgets/chart.js';
import { Choice, chosen } from '../widgets/choice.js';
import { Change, Figure } from '../widgets/number.js';
import { Panel } from '../widgets/panel.js';
import { Ranking } from '../widgets/ranking.js';
import type { Series } from '../widgets/series.js';
import { Sparkline } from '../widgets/sparkline.js';
import { Tile } from '../widgets/tile.js';
import { Notes } from './notes.js';
import { isUnfinished, selectRange, TrafficChart, usePrevious, useTimes } from './traffic-chart.js';

const POINTS = '121';
const ROWS = 10;
/** The fields by which traffic can be stacked. */
const TIED_STACKS = ['none', 'dest_host', 'protocol', 'proxy_id'] as const;
const STACKS = ['none', 'user', 'dest_host', 'protocol', 'proxy_id'] as const;
const CATEGORIES = '5';

type Counted = 'sessions_started' | 'sessions_rejected' | 'sessions_failed';

/** The sessions that a count stands for, as parameters of the list. */
const LISTS: Readonly<Record<Counted, readonly FilterEntry[]>> = {
  sessions_started: [['in', 'started']],
  sessions_rejected: [
    ['in', 'ended'],
    ['status', 'rejected_by_acl'],
  ],
  sessions_failed: [
    ['in', 'ended'],
    ['status', 'failed'],
  ],
};

const without = (own: readonly FilterEntry[]): FilterEntry[] =>
  filters.value.filter(([name]) => !own.some(([each]) => each === name));

export function Overview() {
  const asked = question.value;
  // A key that is tied to users has little to stack by user.
  const stacks = isTied.value ? TIED_STACKS : STACKS;
  const stack = chosen('stack', stacks);
  const stats = useAnswer<Stats>('/stats', asked);
  const traffic = useAnswer<Traffic>('/traffic', [...asked, ['points', POINTS]]);
  const split = useAnswer<Traffic>(stack === 'none' ? null : '/traffic', [
    ...asked,
    ['points', POINTS],
    ['split', stack],
    ['series', CATEGORIES],
  ]);
  const previous = usePrevious(
    stats.loaded.value?.previous_range ?? null,
    traffic.loaded.value?.interval,
  );
  return (
    <>
      <h1 class="visually-hidden">{t.value.nav.overview}</h1>
      <Tiles stats={stats} traffic={traffic.loaded.value} />
      <div class="grid">
        <Panel
          title={t.value.overview.traffic}
          {...(stack === 'none' ? traffic : split)}
          shape="chart"
          isRanged
          isEmpty={(value) => value.series.length === 0}
          actions={
            <Choice
              name="stack"
              values={stacks}
              label={t.value.overview.stack}
              textOf={(value) => (value === 'none' ? t.value.explore.none : t.value.field[value])}
            />
          }
        >
          {(value) => <TrafficChart traffic={value} previous={previous} />}
        </Panel>
        <Panel title={t.value.overview.sessions} {...traffic} shape="chart" isRanged>
          {(value) => <SessionsChart traffic={value} previous={previous} />}
        </Panel>
        <Tops stats={stats} />
        <TopPanel
          path="/top/close-reasons"
          field="close_reason"
          title={t.value.overview.closeReasons}
        />
        <TopPanel
          path="/top/acl-rules"
          field="acl_rule_matched"
          title={t.value.overview.rejections}
          only={[['acl_decision', 'block']]}
        />
        {isTied.value ? null : <Notes />}
      </div>
    </>
  );
}

function Tops({ stats }: { readonly stats: Answer<Stats> }) {
  return (
    <>
      <Top
        field="user"
        title={t.value.overview.topUsers}
        stats={stats}
        rowsOf={({ top_users }) => top_users.map(({ user, bytes }) => [user, bytes])}
      />
      <Top
        field="dest_host"
        title={t.value.overview.topDestinations}
        stats={stats}
        rowsOf={({ top_destinations }) =>
          top_destinations.map(({ dest_host, bytes }) => [dest_host, bytes])
        }
      />
    </>
  );
}

function Top(props: {
  readonly field: 'user' | 'dest_host';
  readonly title: string;
  readonly stats: Answer<Stats>;
  readonly rowsOf: (stats: Stats) => readonly (readonly [key: string, bytes: number])[];
}) {
  const { field, title, stats, rowsOf } = props;
  const hrefFor = (value: string): string =>
    isTied.value
      ? hrefOf('/sessions', [...without([[field, value]]), exactly(field, value)])
      : hrefOf(`/entity/${field}/${encodeURIComponent(value)}`);
  return (
    <div class="half">
      <Panel
        title={title}
        {...stats}
        shape="ranking"
        isRanged
        isEmpty={(value) => rowsOf(value).length === 0}
      >
        {(value) => (
          <Ranking
            name={title}
            heading={t.value.field[field]}
            measure={t.value.measure.bytes}
            show={showBytes}
            rows={rowsOf(value)
              .slice(0, ROWS)
              .map(([key, bytes]) => ({ key, value: bytes, href: hrefFor(key) }))}
          />
        )}
      </Panel>
    </div>
  );
}

/** The numbers of the range. Each leads to a list that has exactly as many, or adds up to as much. */
function Tiles(props: { readonly stats: Answer<Stats>; readonly traffic: Traffic | null }) {
  const { stats, traffic } = props;
  const total = traffic?.series[0];
  const chosenRange = range.value;
  const listOf = (own: readonly FilterEntry[]) => hrefOf('/sessions', [...without(own), ...own]);
  const tableOf = (measure: string) =>
    hrefOf('/explore', [
      ...filters.value,
      ['split', 'user'],
      ['picture', 'table'],
      ['measure', measure],
    ]);
  // Bytes of a part of the time have no list in the portal: sessions count with all of theirs.
  const bytesOf = (measure: string) =>
    !isTied.value
      ? tableOf(measure)
      : chosenRange.kind === 'period'
        ? hrefOf('/usage', filters.value)
        : null;
  return (
    <Panel title={t.value.overview.numbers} {...stats} shape="tiles">
      {({ current, previous, sessions_open, range: { to } }) => (
        <div class="tiles">
          <Tile label={t.value.measure.sessions_open} href={openAt(to, listOf([['in', 'open']]))}>
            <Figure value={sessions_open} show={showCount} />
            <Sparkline values={total?.sessions_open ?? []} />
          </Tile>
          {(Object.keys(LISTS) as Counted[]).map((name) => (
            <Tile key={name} label={t.value.measure[name]} href={listOf(LISTS[name])}>
              <Figure value={current[name]} show={showCount} />
              <Change before={previous[name]} now={current[name]} />
              <Sparkline values={total?.[name] ?? []} />
            </Tile>
          ))}
          {(['bytes_sent', 'bytes_received'] as const).map((name) => (
            <Tile
              key={name}
              label={`${name === 'bytes_sent' ? '↑' : '↓'} ${t.value.measure[name]}`}
              href={bytesOf(name)}
              why={t.value.overview.bytesByMonth}
            >
              <Figure value={current[name]} show={showBytes} />
              <Change before={previous[name]} now={current[name]} />
              <Sparkline values={total?.[name] ?? []} />
            </Tile>
          ))}
          {isTied.value ? null : (
            <Tile label={t.value.measure.unique_users} href={tableOf('sessions_started')}>
              <Figure value={current.unique_users} show={showCount} />
              <Change before={previous.unique_users} now={current.unique_users} />
            </Tile>
          )}
        </div>
      )}
    </Panel>
  );
}

/** The list of the sessions that were open at the end of a range: of the millisecond before it. */
function openAt(to: string, href: string): string {
  const [path = '', query] = href.split('?');
  const own = new URLSearchParams(query);
  own.delete('period');
  own.set('from', new Date(Date.parse(to) - 1).toISOString());
  own.set('to', to);
  return `${path}?${own.toString()}`;
}

const showCountHere = (value: number) => showCount(value, language.value);
const LINES = [
  'sessions_started',
  'sessions_closed',
  'sessions_failed',
  'sessions_rejected',
] as const;

function SessionsChart(props: { readonly traffic: Traffic; readonly previous: Traffic | null }) {
  const { traffic, previous } = props;
  const times = useTimes(traffic);
  const series = useMemo((): Series[] => {
    const total = traffic.series[0];
    const before = previous?.series[0]?.sessions_started ?? [];
    return [
      ...LINES.map((name, at) => ({
        label: t.value.measure[name],
        colour: `category-${at + 1}`,
        values: total?.[name] ?? [],
      })),
      ...(previous === null
        ? []
        : [
            {
              label: `${t.value.measure.sessions_started} ${t.value.before}`,
              colour: 'category-1',
              values: times.map((_, at) => before[at] ?? null),
              isBefore: true,
            },
          ]),
    ];
  }, [traffic, previous, t.value]);
  return (
    <Chart
      name={t.value.overview.sessions}
      times={times}
      series={series}
      show={showCountHere}
      isUnfinished={isUnfinished(traffic)}
      onSelect={selectRange}
    />
  );
}

interface TopAnswer {
  readonly items: readonly {
    readonly close_reason?: string | null;
    readonly acl_rule_matched?: string | null;
    readonly sessions_ended: number;
  }[];
  readonly other: { readonly sessions_ended: number } | null;
}

function TopPanel(props: {
  readonly path: string;
  readonly field: 'close_reason' | 'acl_rule_matched';
  readonly title: string;
  readonly only?: readonly FilterEntry[];
}) {
  const { path, field, title, only = [] } = props;
  const answer = useAnswer<TopAnswer>(path, [
    ...question.value.filter(([name]) => !only.some(([own]) => own === name)),
    ...only,
    ['limit', String(ROWS)],
    ['sort', 'sessions_ended'],
  ]);
  return (
    <div class="half">
      <Panel title={title} {...answer} isRanged isEmpty={({ items }) => items.length === 0}>
        {({ items, other }) => (
          <Ranking
            name={title}
            heading={t.value.field[field]}
            measure={t.value.measure.sessions}
            show={showCount}
            other={other?.sessions_ended ?? 0}
            rows={items.map((each) => {
              const key = each[field] ?? '';
              const own: FilterEntry[] = [...only, [field, key]];
              return {
                key,
                value: each.sessions_ended,
                href: hrefOf('/sessions', [...without(own), ...own, ['in', 'ended']]),
              };
            })}
          />
        )}
      </Panel>
    </div>
  );
}
