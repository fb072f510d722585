import type { Stats, Traffic } from '@sockscope/schemas/api';
import { useMemo } from 'preact/hooks';
import { useAnswer } from '../api/use-answer.js';
import { showBytes, showCount } from '../format/numbers.js';
import { filters, filterText, question } from '../state/filters.js';
import { changeRange, hrefOf, range } from '../state/location.js';
import { rangeParams } from '../state/range.js';
import { language, t } from '../text/text.js';
import { Chart } from '../widgets/chart.js';
import { Change, Figure } from '../widgets/number.js';
import { Panel } from '../widgets/panel.js';
import { Ranking } from '../widgets/ranking.js';
import { Sparkline } from '../widgets/sparkline.js';
import { Tile } from '../widgets/tile.js';
import { selectRange, TrafficChart } from './traffic-chart.js';

const POINTS = '121';
const ROWS = 10;

type Counted = 'sessions_started' | 'sessions_rejected' | 'sessions_failed';

/** The sessions that a count stands for, as parameters of the list. */
const LISTS: Readonly<Record<Counted, readonly (readonly [string, string])[]>> = {
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

export function Overview() {
  const asked = question.value;
  const stats = useAnswer<Stats>('/stats', asked);
  const traffic = useAnswer<Traffic>('/traffic', [...asked, ['points', POINTS]]);
  const wide = () => {
    changeRange({ kind: 'last', amount: 30, unit: 'd' });
  };
  const common = { filter: filterText.value, widen: wide };
  return (
    <>
      <h1 class="visually-hidden">{t.value.nav.overview}</h1>
      <Tiles stats={stats} traffic={traffic.loaded.value} />
      <div class="grid">
        <Panel
          {...common}
          title={t.value.overview.traffic}
          {...traffic}
          isEmpty={(value) => value.series.length === 0}
          note={(value) => (value.incomplete_minutes > 0 ? t.value.state.partial : null)}
        >
          {(value) => <TrafficChart traffic={value} />}
        </Panel>
        <Panel {...common} title={t.value.overview.sessions} {...traffic}>
          {(value) => <SessionsChart traffic={value} />}
        </Panel>
        <div class="half">
          <Panel
            {...common}
            title={t.value.overview.topUsers}
            {...stats}
            isEmpty={(value) => value.top_users.length === 0}
          >
            {(value) => (
              <Ranking
                name={t.value.overview.topUsers}
                heading={t.value.field.user}
                measure={t.value.measure.bytes}
                show={showBytes}
                other={0}
                rows={value.top_users.slice(0, ROWS).map((each) => ({
                  key: each.user,
                  value: each.bytes_sent + each.bytes_received,
                  href: hrefOf(`/entity/user/${encodeURIComponent(each.user)}`),
                }))}
              />
            )}
          </Panel>
        </div>
        <div class="half">
          <Panel
            {...common}
            title={t.value.overview.topDestinations}
            {...stats}
            isEmpty={(value) => value.top_destinations.length === 0}
          >
            {(value) => (
              <Ranking
                name={t.value.overview.topDestinations}
                heading={t.value.field.dest_host}
                measure={t.value.measure.bytes}
                show={showBytes}
                other={0}
                rows={value.top_destinations.slice(0, ROWS).map((each) => ({
                  key: each.dest_host,
                  value: each.bytes_sent + each.bytes_received,
                  href: hrefOf(`/entity/dest_host/${encodeURIComponent(each.dest_host)}`),
                }))}
              />
            )}
          </Panel>
        </div>
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
      </div>
    </>
  );
}

function Tiles(props: {
  readonly stats: ReturnType<typeof useAnswer<Stats>>;
  readonly traffic: Traffic | null;
}) {
  const { stats, traffic } = props;
  const total = traffic?.series[0];
  const listOf = (own: readonly (readonly [string, string])[]) =>
    hrefOf('/sessions', [
      ...filters.value.filter(([name]) => !own.some(([each]) => each === name)),
      ...own,
    ]);
  return (
    <Panel title={t.value.overview.numbers} {...stats}>
      {({ current, previous, sessions_open }) => (
        <div class="tiles">
          <Tile label={t.value.measure.sessions_open} href={hrefOf('/live', filters.value)}>
            <Figure value={sessions_open} show={showCount} />
          </Tile>
          {(Object.keys(LISTS) as Counted[]).map((name) => (
            <Tile key={name} label={t.value.measure[name]} href={listOf(LISTS[name])}>
              <Figure value={current[name] ?? 0} show={showCount} />
              <Change before={previous[name] ?? 0} now={current[name] ?? 0} />
              <Sparkline values={total?.[name] ?? []} />
            </Tile>
          ))}
          {(['bytes_sent', 'bytes_received'] as const).map((name) => (
            <Tile
              key={name}
              label={`${name === 'bytes_sent' ? '↑' : '↓'} ${t.value.measure[name]}`}
              href={hrefOf('/explore', [...filters.value, ['measure', name]])}
            >
              <Figure value={current[name]} show={showBytes} />
              <Change before={previous[name]} now={current[name]} />
              <Sparkline values={total?.[name] ?? []} />
            </Tile>
          ))}
          <Tile
            label={t.value.measure.unique_users}
            href={hrefOf('/usage', Object.entries(rangeParams(range.value)))}
          >
            <Figure value={current.unique_users} show={showCount} />
            <Change before={previous.unique_users} now={current.unique_users} />
          </Tile>
        </div>
      )}
    </Panel>
  );
}

const showCountHere = (value: number) => showCount(value, language.value);

function SessionsChart({ traffic }: { readonly traffic: Traffic }) {
  const times = useMemo(() => traffic.buckets.map((each) => Date.parse(each)), [traffic]);
  const series = useMemo(() => {
    const total = traffic.series[0];
    return (['sessions_started', 'sessions_closed', 'sessions_rejected'] as const).map(
      (name, at) => ({
        label: t.value.measure[name],
        colour: `category-${at + 1}`,
        values: total?.[name] ?? [],
      }),
    );
  }, [traffic, t.value]);
  return (
    <Chart
      name={t.value.overview.sessions}
      times={times}
      series={series}
      show={showCountHere}
      onSelect={selectRange}
    />
  );
}

interface TopAnswer {
  readonly items: readonly {
    readonly close_reason?: string | null;
    readonly acl_rule_matched?: string | null;
    readonly sessions_ended?: number;
    readonly sessions_closed: number;
    readonly sessions_failed: number;
    readonly sessions_rejected: number;
  }[];
}

function TopPanel(props: {
  readonly path: string;
  readonly field: 'close_reason' | 'acl_rule_matched';
  readonly title: string;
  readonly only?: readonly (readonly [string, string])[];
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
      <Panel
        title={title}
        filter={filterText.value}
        {...answer}
        isEmpty={({ items }) => items.length === 0}
      >
        {({ items }) => (
          <Ranking
            name={title}
            heading={t.value.field[field]}
            measure={t.value.measure.sessions}
            show={showCount}
            other={0}
            rows={items.map((each) => {
              const key = each[field] ?? '';
              return {
                key,
                value: each.sessions_closed + each.sessions_failed + each.sessions_rejected,
                href: hrefOf('/sessions', [
                  ...filters.value,
                  ...only,
                  ['in', 'ended'],
                  [field, key],
                ]),
              };
            })}
          />
        )}
      </Panel>
    </div>
  );
}
