import type { Schemas } from '@sockscope/client';
import { useMemo } from 'preact/hooks';
import { useAnswer } from '../api/use-answer.js';
import { showBytes, showDuration, showRate } from '../format/numbers.js';
import { showTime } from '../format/times.js';
import { Link } from '../shell/link.js';
import type { PageProps } from '../shell/routes.js';
import { hrefOf, zone } from '../state/location.js';
import { isTied } from '../state/me.js';
import { language, t } from '../text/text.js';
import { Chart } from '../widgets/chart.js';
import { useMore } from '../widgets/more.js';
import { Panel } from '../widgets/panel.js';
import type { Series } from '../widgets/series.js';
import { headingOf, Status } from '../widgets/session-table.js';

type Session = Schemas['Session'];
type Page = Schemas['TimelinePage'];
type TimelineEvent = Page['items'][number];

const LIVE_MS = 5_000;
const SECOND_MS = 1_000;
/** Fields with a page of their own. */
const ENTITIES: ReadonlySet<string> = new Set([
  'user',
  'dest_host',
  'source_ip',
  'dest_port',
  'proxy_id',
  'acl_rule_matched',
]);

/** One session: its fields, its course and its events in order. */
export function SessionPage({ args }: PageProps) {
  const path = `/sessions/${encodeURIComponent(args['session_id'] ?? '')}`;
  const session = useAnswer<Session>(path, [], LIVE_MS);
  // An ended session does not change any more.
  const isOpen = session.loaded.value?.status === 'active';
  const events = useAnswer<Page>(`${path}/events`, [], isOpen ? LIVE_MS : 0);
  const more = useMore<TimelineEvent>(`${path}/events`, []);
  const note = ({ expired }: Page) => (expired ? t.value.session.expired : null);
  return (
    <>
      <h1>
        {t.value.session.title} <small class="muted">{args['session_id']}</small>
      </h1>
      <div class="grid">
        <div class="third">
          <Panel title={t.value.session.fields} {...session}>
            {(value) => <Fields session={value} />}
          </Panel>
        </div>
        <div class="two-thirds">
          <Panel
            title={t.value.session.bytes}
            {...events}
            isEmpty={({ items }) => items.length < 2}
            note={note}
          >
            {(page) => <Charts events={more.rowsOf(page)} />}
          </Panel>
        </div>
        <Panel
          title={t.value.session.timeline}
          {...events}
          isEmpty={({ items }) => items.length === 0}
          note={note}
        >
          {(page) => (
            <>
              <Timeline events={more.rowsOf(page)} />
              {more.button(page)}
            </>
          )}
        </Panel>
      </div>
    </>
  );
}

function Fields({ session }: { readonly session: Session }) {
  return (
    <dl class="fields">
      {Object.entries(session).map(([name, value]) => (
        <div key={name}>
          <dt title={name}>{headingOf(name as keyof Session)}</dt>
          <dd title={String(value ?? '')}>
            <Field name={name} value={value} session={session} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Field(props: {
  readonly name: string;
  readonly value: string | number | null;
  readonly session: Session;
}) {
  const { name, value, session } = props;
  if (value === null) return <>–</>;
  if (name === 'status') return <Status status={session.status} reason={null} />;
  if (typeof value === 'number' && name.startsWith('bytes_')) return <>{unit(value)}</>;
  if (typeof value === 'number' && name.endsWith('_ms')) return <>{showDuration(value)}</>;
  if (typeof value === 'string' && name.endsWith('_at'))
    return <time dateTime={value}>{showTime(zone.value, Date.parse(value))}</time>;
  if (ENTITIES.has(name) && !isTied.value) {
    return (
      <Link href={hrefOf(`/entity/${name}/${encodeURIComponent(String(value))}`)}>
        <bdi>{value}</bdi>
      </Link>
    );
  }
  return <bdi>{value}</bdi>;
}

const show = (value: number) => showBytes(value, language.value);
const showAsRate = (value: number) => showRate(value, language.value);
const unit = (bytes: number): string => {
  const { digits, unit: name } = show(bytes);
  return `${digits} ${name}`;
};

const DIRECTIONS = ['bytes_sent', 'bytes_received'] as const;

function seriesOf(
  events: readonly TimelineEvent[],
  valueOf: (event: TimelineEvent, direction: (typeof DIRECTIONS)[number]) => number,
): Series[] {
  return DIRECTIONS.map((direction) => ({
    label: `${direction === 'bytes_sent' ? '↑' : '↓'} ${t.value.measure[direction]}`,
    colour: direction === 'bytes_sent' ? 'sent' : 'received',
    values: events.map((event) => valueOf(event, direction)),
    isMirrored: direction === 'bytes_received',
  }));
}

/** Bytes a second over the interval that an event reports. */
function rateOf(event: TimelineEvent, direction: (typeof DIRECTIONS)[number]): number {
  const { delta, interval_start, interval_end } = event;
  if (delta === null || interval_start === null || interval_end === null) return 0;
  const ms = Date.parse(interval_end) - Date.parse(interval_start);
  return ms <= 0 ? 0 : (delta[direction] * SECOND_MS) / ms;
}

function Charts({ events }: { readonly events: readonly TimelineEvent[] }) {
  const times = useMemo(() => events.map((each) => Date.parse(each.occurred_at)), [events]);
  const bytes = useMemo(
    () => seriesOf(events, (event, direction) => event[direction]),
    [events, t.value],
  );
  const rates = useMemo(() => seriesOf(events, rateOf), [events, t.value]);
  return (
    <>
      <Chart name={t.value.session.bytes} times={times} series={bytes} show={show} />
      <h3>{t.value.session.rates}</h3>
      <Chart
        name={t.value.session.rates}
        times={times}
        series={rates}
        show={showAsRate}
        height={160}
      />
    </>
  );
}

function Timeline({ events }: { readonly events: readonly TimelineEvent[] }) {
  return (
    <ol class="timeline">
      {events.map((event) => (
        <li key={event.seq} class={event.type}>
          {event.missing_before === 0 ? null : (
            <p class="note">⚠ {t.value.session.gap(event.missing_before)}</p>
          )}
          <details>
            <summary>
              <time dateTime={event.occurred_at}>
                {showTime(zone.value, Date.parse(event.occurred_at))}
              </time>{' '}
              <b>{event.type}</b> <span class="muted whole">seq {event.seq}</span>{' '}
              <span class="whole">↑ {unit(event.bytes_sent)}</span>{' '}
              <span class="whole">↓ {unit(event.bytes_received)}</span>
              {event.late ? <span class="late whole"> ⚠ {t.value.session.late}</span> : null}
            </summary>
            <pre>{JSON.stringify(event, null, 2)}</pre>
          </details>
        </li>
      ))}
    </ol>
  );
}
