import type { Stats, Traffic } from '@sockscope/schemas/api';
import { useMemo } from 'preact/hooks';
import { useAnswer } from '../api/use-answer.js';
import type { Params } from '../api/client.js';
import { showBytes, showCount } from '../format/numbers.js';
import { showTime } from '../format/times.js';
import { Link } from '../shell/link.js';
import type { PageProps } from '../shell/routes.js';
import { exactly, question } from '../state/filters.js';
import { hrefOf, zone } from '../state/location.js';
import { language, t } from '../text/text.js';
import { Heatmap } from '../widgets/heatmap.js';
import { Change, Figure } from '../widgets/number.js';
import { Panel } from '../widgets/panel.js';
import { Ranking } from '../widgets/ranking.js';
import { Tile } from '../widgets/tile.js';
import { SessionTable } from '../widgets/session-table.js';
import type { SessionRow } from '../widgets/session-table.js';
import { useNotes } from './notes.js';
import { TrafficChart } from './traffic-chart.js';

/** Fields whose values have a page of their own, with its lists. */
const KINDS = {
  user: { counterparts: ['dest_host', 'source_ip', 'dest_port'], profile: 'users' },
  dest_host: { counterparts: ['user', 'dest_port', 'close_reason'], profile: 'destinations' },
  source_ip: { counterparts: ['user', 'dest_host', 'dest_port'], profile: null },
  dest_port: { counterparts: ['user', 'dest_host', 'close_reason'], profile: null },
  acl_rule_matched: { counterparts: ['user', 'dest_host', 'source_ip'], profile: null },
  proxy_id: { counterparts: ['user', 'dest_host', 'close_reason'], profile: null },
} as const;
type Kind = keyof typeof KINDS;
type Listed = (typeof KINDS)[Kind]['counterparts'][number];

const LIST_PATHS: Readonly<Record<Listed, string>> = {
  user: '/top/users',
  dest_host: '/top/destinations',
  source_ip: '/top/sources',
  dest_port: '/top/ports',
  close_reason: '/top/close-reasons',
};

const ROWS = 10;
const isKind = (text: string): text is Kind => Object.hasOwn(KINDS, text);

/** One user, destination, source, port, rule or proxy. */
export function Entity({ args }: PageProps) {
  const kind = args['kind'] ?? '';
  const value = args['value'] ?? '';
  if (!isKind(kind)) return <h1>{t.value.notFound}</h1>;
  return <Known kind={kind} value={value} />;
}

function Known({ kind, value }: { readonly kind: Kind; readonly value: string }) {
  const asked = [...question.value.filter(([name]) => name !== kind), exactly(kind, value)];
  const stats = useAnswer<Stats>('/stats', asked);
  const traffic = useAnswer<Traffic>('/traffic', [...asked, ['points', '200']]);
  const hours = useAnswer<Traffic>(
    '/traffic',
    [
      ['from', 'now-28d/d'],
      ['to', 'now'],
      ['time_zone', zone.value],
      exactly(kind, value),
      ['interval', '1h'],
    ],
    0,
  );
  const sessions = useAnswer<{ items: readonly SessionRow[] }>('/sessions', [
    ...asked,
    ['limit', '20'],
  ]);
  const { counterparts, profile } = KINDS[kind];
  useNotes();
  return (
    <>
      <h1>
        <span class="muted">{t.value.field[kind]}</span> <bdi>{value}</bdi>
      </h1>
      {profile === null ? (
        <SeenInSessions kind={kind} value={value} />
      ) : (
        <Seen path={`/${profile}/${encodeURIComponent(value)}`} />
      )}
      <Panel title={t.value.overview.numbers} {...stats} shape="numbers">
        {({ current, previous, sessions_open }) => (
          <div class="tiles">
            <Tile
              label={t.value.measure.sessions_open}
              href={hrefOf('/live', [exactly(kind, value)])}
            >
              <Figure value={sessions_open} show={showCount} />
            </Tile>
            <Tile
              label={t.value.measure.sessions_started}
              href={hrefOf('/sessions', [exactly(kind, value), ['in', 'started']])}
            >
              <Figure value={current.sessions_started ?? 0} show={showCount} />
              <Change before={previous.sessions_started ?? 0} now={current.sessions_started ?? 0} />
            </Tile>
            {(['bytes_sent', 'bytes_received'] as const).map((name) => (
              <Tile
                key={name}
                label={`${name === 'bytes_sent' ? '↑' : '↓'} ${t.value.measure[name]}`}
                href={hrefOf('/explore', [
                  exactly(kind, value),
                  ['split', kind === 'user' ? 'dest_host' : 'user'],
                  ['picture', 'table'],
                  ['measure', name],
                ])}
              >
                <Figure value={current[name]} show={showBytes} />
                <Change before={previous[name]} now={current[name]} />
              </Tile>
            ))}
          </div>
        )}
      </Panel>
      <div class="grid">
        <Panel title={t.value.overview.traffic} {...traffic} shape="chart">
          {(answer) => <TrafficChart traffic={answer} />}
        </Panel>
        {counterparts.map((listed) => (
          <Counterparts key={listed} listed={listed} asked={asked} kind={kind} value={value} />
        ))}
        <Panel title={t.value.entity.hours} {...hours}>
          {(answer) => <Hours traffic={answer} />}
        </Panel>
        <Panel
          title={t.value.nav.sessions}
          {...sessions}
          isEmpty={({ items }) => items.length === 0}
          isRanged
          actions={
            <Link href={hrefOf('/sessions', [exactly(kind, value)])}>
              {t.value.entity.allSessions}
            </Link>
          }
        >
          {({ items }) => <SessionTable rows={items} />}
        </Panel>
      </div>
    </>
  );
}

/** First and last seen, by the sums of all that is kept. */
function Seen({ path }: { readonly path: string }) {
  const { loaded } = useAnswer<{ first_seen: string; last_seen: string }>(
    path,
    [['limit', '1']],
    0,
  );
  return loaded.value === null ? null : (
    <SeenText first={loaded.value.first_seen} last={loaded.value.last_seen} />
  );
}

interface Starts {
  readonly items: readonly { readonly started_at: string }[];
}

/** The same for a value without a profile: the first and the last session that are kept. */
function SeenInSessions({ kind, value }: { readonly kind: Kind; readonly value: string }) {
  const asked = [exactly(kind, value), ['limit', '1'] as const, ['fields', 'started_at'] as const];
  const first = useAnswer<Starts>('/sessions', [...asked, ['order', 'asc']], 0);
  const last = useAnswer<Starts>('/sessions', asked, 0);
  const [firstAt, lastAt] = [first, last].map(({ loaded }) => loaded.value?.items[0]?.started_at);
  return firstAt === undefined || lastAt === undefined ? null : (
    <SeenText first={firstAt} last={lastAt} />
  );
}

function SeenText({ first, last }: { readonly first: string; readonly last: string }) {
  const time = (text: string) => showTime(zone.value, Date.parse(text));
  return <p class="muted">{t.value.entity.seen(time(first), time(last))}</p>;
}

interface TopItem {
  readonly user?: string;
  readonly dest_host?: string;
  readonly source_ip?: string;
  readonly dest_port?: number;
  readonly close_reason?: string | null;
  readonly sessions_ended: number;
}

function Counterparts(props: {
  readonly listed: Listed;
  readonly asked: Params;
  readonly kind: Kind;
  readonly value: string;
}) {
  const { listed, asked, kind, value } = props;
  const answer = useAnswer<{ items: readonly TopItem[] }>(LIST_PATHS[listed], [
    ...asked,
    ['limit', String(ROWS)],
    ['sort', 'sessions_ended'],
  ]);
  return (
    <div class="third">
      <Panel title={t.value.field[listed]} {...answer} isEmpty={({ items }) => items.length === 0}>
        {({ items }) => (
          <Ranking
            name={t.value.field[listed]}
            heading={t.value.field[listed]}
            measure={t.value.measure.sessions}
            show={showCount}
            rows={items.map((item) => {
              const key = String(item[listed] ?? '');
              return {
                key,
                value: item.sessions_ended,
                href: hrefOf('/sessions', [
                  exactly(kind, value),
                  exactly(listed, key),
                  ['in', 'ended'],
                ]),
              };
            })}
          />
        )}
      </Panel>
    </div>
  );
}

const show = (bytes: number) => showBytes(bytes, language.value);

function Hours({ traffic }: { readonly traffic: Traffic }) {
  const times = useMemo(() => traffic.buckets.map((each) => Date.parse(each)), [traffic]);
  const total = traffic.series[0];
  const values = times.map(
    (_, at) => (total?.bytes_sent[at] ?? 0) + (total?.bytes_received[at] ?? 0),
  );
  return (
    <Heatmap
      name={t.value.entity.hours}
      times={times}
      values={values}
      zone={zone.value}
      show={show}
    />
  );
}
