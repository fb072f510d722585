import type { Schemas } from '@sockscope/client';
import type { LiveWindow } from '@sockscope/schemas/api';
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { get } from '../../api/client.js';
import { useFeed } from '../../api/feed.js';
import { useAnswer } from '../../api/use-answer.js';
import type { Loaded } from '../../api/resource.js';
import { showCount, showRate } from '../../format/numbers.js';
import { showTime } from '../../format/times.js';
import { addFilter, exactly, filters } from '../../state/filters.js';
import { change, hrefOf, isPaused, params, togglePause, zone } from '../../state/location.js';
import { momentOf } from '../../state/range.js';
import { t } from '../../text/text.js';
import { Choice, chosen } from '../../widgets/choice.js';
import { Figure } from '../../widgets/number.js';
import { Panel } from '../../widgets/panel.js';
import { Link } from '../../shell/link.js';
import { SessionTable } from '../../widgets/session-table.js';
import type { Column, SessionRow } from '../../widgets/session-table.js';
import { numeric, Table } from '../../widgets/table.js';
import { grouped, GROUPS, held } from './order.js';
import type { GroupBy, Shown } from './order.js';
import { createPlayer } from './player.js';
import type { Piece, Player } from './player.js';
import { TimeSlider } from './slider.js';

/** The open sessions at one moment: now, at a past time, or in a frame of a playback. */
interface View {
  readonly atMs: number;
  readonly total: number;
  readonly sentRate: number;
  readonly receivedRate: number;
  readonly rows: readonly SessionRow[];
  readonly note: string | null;
}

const ROWS = '100';
/** Rows of a frame: a playback asks for sixty frames at once. */
const FRAME_ROWS = '25';
const SORTS = ['rate', 'bytes', 'started_at', 'duration_ms'] as const;
/** Orders that a past moment has. */
const PAST_SORTS = ['rate', 'bytes', 'started_at'] as const;
const COLUMNS: readonly Column[] = [
  'user',
  'source_ip',
  'dest_host',
  'duration_ms',
  'bytes_sent_per_second',
  'bytes_received_per_second',
  'bytes_sent',
  'bytes_received',
];
/** A playback has the bytes of the minute, but no sums of that time. */
const PLAYED_COLUMNS = COLUMNS.slice(0, 6);

/** The open sessions: now, or at any moment of the past. */
export function Live() {
  const atMs = momentOf(params.value.get('at') ?? '', Date.now());
  const player = useMemo(makePlayer, []);
  useEffect(() => () => void player.pause(), [player]);
  const played = player.frame.value;
  const isLive = atMs === null && played === null && player.speed.value === null;
  const live = useLiveView(isLive);
  const past = usePastView(played === null ? atMs : null);
  const shown = played === null ? (atMs === null ? live : past) : playedView(player);
  const titleMs = played?.atMs ?? atMs;
  const title =
    titleMs === null ? t.value.live.title : t.value.live.asOf(showTime(zone.value, titleMs));
  return (
    <>
      <h1>{t.value.nav.live}</h1>
      <TimeSlider atMs={titleMs} player={player} />
      <div class="actions">
        {isLive ? (
          <button type="button" aria-pressed={isPaused.value} onClick={togglePause}>
            {isPaused.value ? t.value.live.resume : t.value.live.pause}
          </button>
        ) : null}
        <Choice
          name="sort"
          values={isLive ? SORTS : PAST_SORTS}
          label={t.value.list.sort}
          textOf={(value) => t.value.live.sorts[value]}
        />
        <Choice
          name="group"
          values={GROUPS}
          label={t.value.live.group}
          textOf={(value) => (value === 'none' ? t.value.explore.none : t.value.field[value])}
        />
      </div>
      <Panel title={title} loaded={shown.loaded} retry={shown.retry} note={({ note }) => note}>
        {(view) => (
          <Window
            view={view}
            title={title}
            isPlayed={played !== null}
            isLive={isLive}
            isFrozen={isPaused.value}
          />
        )}
      </Panel>
    </>
  );
}

interface Asked {
  readonly loaded: Loaded<View>;
  readonly retry: () => void;
}

const nothing = (): void => undefined;

function useLiveView(isOpen: boolean): Asked {
  const loaded = useFeed<LiveWindow>(
    isOpen ? '/stream/active' : null,
    [...filters.value, ['sort', chosen('sort', SORTS)], ['limit', ROWS]],
    'window',
    isPaused.value,
  );
  return {
    retry: nothing,
    loaded: viewed(loaded, (window) => ({
      atMs: Date.parse(window.as_of),
      total: window.total,
      sentRate: window.bytes_sent_per_second,
      receivedRate: window.bytes_received_per_second,
      rows: window.items,
      note: window.truncated ? t.value.live.truncated : null,
    })),
  };
}

function usePastView(atMs: number | null): Asked {
  const { loaded, retry } = useAnswer<Schemas['SessionsAtPage']>(
    atMs === null ? null : '/sessions',
    [
      ...filters.value,
      ['at', new Date(atMs ?? 0).toISOString()],
      ['sort', chosen('sort', PAST_SORTS)],
      ['limit', ROWS],
    ],
    0,
  );
  return {
    retry,
    loaded: viewed(loaded, (page) => ({
      atMs: Date.parse(page.at),
      total: page.total,
      sentRate: page.bytes_sent_per_second,
      receivedRate: page.bytes_received_per_second,
      rows: page.items as readonly SessionRow[],
      note: page.ranking === 'bounded' ? t.value.live.bounded : null,
    })),
  };
}

function viewed<T>(loaded: Loaded<T>, viewOf: (value: T) => View): Loaded<View> {
  return { ...loaded, value: loaded.value === null ? null : viewOf(loaded.value) };
}

function playedView(player: Player): Asked {
  const frame = player.frame.value;
  return {
    retry: nothing,
    loaded: {
      value: frame === null ? null : { ...frame, total: frame.open, note: null },
      at: Date.now(),
      isLoading: false,
      problem: player.problem.value,
    },
  };
}

function makePlayer(): Player {
  return createPlayer({
    load: (fromMs, toMs, step, signal) =>
      get<Piece>(
        '/sessions/playback',
        [
          ...filters.peek(),
          ['from', new Date(fromMs).toISOString()],
          ['to', new Date(toMs).toISOString()],
          ['step', `${step}s`],
          ['limit', FRAME_ROWS],
        ],
        signal,
      ),
    onPresent: () => {
      change({ at: null }, 'replace');
    },
    now: Date.now,
  });
}

/** The rows. They keep their places while the pointer or the focus is among them, and while paused. */
function Window(props: {
  readonly view: View;
  readonly title: string;
  readonly isPlayed: boolean;
  readonly isLive: boolean;
  readonly isFrozen: boolean;
}) {
  const { view, title, isPlayed, isLive, isFrozen } = props;
  const isHeld = useSignal(false);
  const before = useRef<readonly SessionRow[]>([]);
  const group = chosen('group', GROUPS);
  const keeps = isLive && isHeld.value && !isFrozen;
  const shown: Shown = keeps
    ? held(before.current, view.rows)
    : { rows: view.rows, gone: new Set(), waiting: 0 };
  before.current = shown.rows;
  const hold = (value: boolean) => () => {
    isHeld.value = value;
  };
  return (
    <>
      <p class="sums">
        <b>
          <Figure value={view.total} show={showCount} />
        </b>{' '}
        {isLive ? t.value.live.open(view.total) : t.value.live.wereOpen(view.total)} · ↑{' '}
        <Figure value={Math.round(view.sentRate)} show={showRate} /> ↓{' '}
        <Figure value={Math.round(view.receivedRate)} show={showRate} />
        {view.rows.length < view.total ? (
          <span class="muted"> · {t.value.live.shown(view.rows.length)}</span>
        ) : null}
        {shown.waiting > 0 ? (
          <span class="muted"> · {t.value.live.waiting(shown.waiting)}</span>
        ) : null}
      </p>
      <div
        class="held"
        onPointerEnter={hold(true)}
        onPointerLeave={hold(false)}
        onFocusIn={hold(true)}
        onFocusOut={hold(false)}
      >
        {shown.rows.length === 0 ? (
          <p class="empty">{t.value.live.none}</p>
        ) : group === 'none' ? (
          <SessionTable
            rows={shown.rows}
            columns={isPlayed ? PLAYED_COLUMNS : COLUMNS}
            name={title}
            gone={shown.gone}
            {...(isLive ? {} : { nowMs: view.atMs })}
          />
        ) : (
          <Groups rows={view.rows} by={group} />
        )}
      </div>
    </>
  );
}

function Groups({ rows, by }: { readonly rows: readonly SessionRow[]; readonly by: GroupBy }) {
  return (
    <Table
      name={t.value.field[by]}
      columns={[
        t.value.field[by],
        numeric(t.value.measure.sessions),
        numeric(`↑ ${t.value.live.rate}`),
        numeric(`↓ ${t.value.live.rate}`),
      ]}
    >
      <tbody>
        {grouped(rows, by).map((group) => (
          <tr key={group.key}>
            <th scope="row">
              <button
                type="button"
                class="value"
                onClick={() => {
                  addFilter(by, group.key);
                }}
              >
                <bdi>{group.key}</bdi>
              </button>
            </th>
            <td class="number line" data-label={t.value.measure.sessions}>
              <Link
                href={hrefOf('/sessions', [
                  ...filters.value,
                  exactly(by, group.key),
                  ['in', 'open'],
                ])}
              >
                <Figure value={group.sessions} show={showCount} />
              </Link>
            </td>
            <td class="number" data-label={`↑ ${t.value.live.rate}`}>
              <Figure value={Math.round(group.sentRate)} show={showRate} />
            </td>
            <td class="number" data-label={`↓ ${t.value.live.rate}`}>
              <Figure value={Math.round(group.receivedRate)} show={showRate} />
            </td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}
