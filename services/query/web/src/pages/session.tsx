import { useMemo } from 'preact/hooks';
import { useAnswer } from '../api/use-answer.js';
import { showBytes, showDuration } from '../format/numbers.js';
import { showTime } from '../format/times.js';
import type { PageProps } from '../shell/routes.js';
import { zone } from '../state/location.js';
import { language, t } from '../text/text.js';
import { Chart } from '../widgets/chart.js';
import { Panel } from '../widgets/panel.js';
import { gapsOf } from './timeline.js';
import type { TimelineEvent } from './timeline.js';

type Session = Readonly<Record<string, string | number | boolean | null>>;

interface Events {
  readonly items: readonly TimelineEvent[];
  readonly expired?: boolean;
}

const LIVE_MS = 5_000;

/** One session: what is known of it, how it went, and its events as they came. */
export function SessionPage({ args }: PageProps) {
  const path = `/sessions/${encodeURIComponent(args['session_id'] ?? '')}`;
  const session = useAnswer<Session>(path, [], LIVE_MS);
  const events = useAnswer<Events>(`${path}/events`, [], LIVE_MS);
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
            note={({ expired }) => (expired === true ? t.value.session.expired : null)}
          >
            {({ items }) => <Bytes events={items} />}
          </Panel>
        </div>
        <Panel
          title={t.value.session.timeline}
          {...events}
          isEmpty={({ items }) => items.length === 0}
          note={({ expired }) => (expired === true ? t.value.session.expired : null)}
        >
          {({ items }) => <Timeline events={items} />}
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
          <dt>{name}</dt>
          <dd title={String(value ?? '')}>
            <bdi>{shownField(name, value)}</bdi>
          </dd>
        </div>
      ))}
    </dl>
  );
}

function shownField(name: string, value: string | number | boolean | null): string {
  if (value === null) return '–';
  if (typeof value === 'number' && name.startsWith('bytes_')) {
    const { digits, unit } = showBytes(value, language.value);
    return `${digits} ${unit}`;
  }
  if (typeof value === 'number' && name.endsWith('_ms')) return showDuration(value);
  if (typeof value === 'string' && name.endsWith('_at'))
    return showTime(zone.value, Date.parse(value));
  return String(value);
}

const show = (value: number) => showBytes(value, language.value);

function Bytes({ events }: { readonly events: readonly TimelineEvent[] }) {
  const times = useMemo(() => events.map((each) => Date.parse(each.occurred_at)), [events]);
  const series = useMemo(
    () => [
      {
        label: `↑ ${t.value.measure.bytes_sent}`,
        colour: 'sent',
        values: events.map((each) => each.bytes_sent),
      },
      {
        label: `↓ ${t.value.measure.bytes_received}`,
        colour: 'received',
        values: events.map((each) => each.bytes_received),
        isMirrored: true,
      },
    ],
    [events, t.value],
  );
  return <Chart name={t.value.session.bytes} times={times} series={series} show={show} />;
}

function Timeline({ events }: { readonly events: readonly TimelineEvent[] }) {
  const gaps = gapsOf(events);
  return (
    <ol class="timeline">
      {events.map((event, at) => (
        <li key={event.seq} class={event.type}>
          {gaps.has(at) ? <p class="note">⚠ {t.value.session.gap(gaps.get(at) ?? 0)}</p> : null}
          <details>
            <summary>
              <time>{showTime(zone.value, Date.parse(event.occurred_at))}</time> <b>{event.type}</b>{' '}
              <span class="muted">seq {event.seq}</span> ↑ {exact(event.bytes_sent)} ↓{' '}
              {exact(event.bytes_received)}
            </summary>
            <pre>{JSON.stringify(event, null, 2)}</pre>
          </details>
        </li>
      ))}
    </ol>
  );
}

function exact(bytes: number): string {
  const { digits, unit } = show(bytes);
  return `${digits} ${unit}`;
}
