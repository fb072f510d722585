import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { get } from '../api/client.js';
import { useAnswer } from '../api/use-answer.js';
import { showBytes, showDuration } from '../format/numbers.js';
import { showTime } from '../format/times.js';
import { Link } from '../shell/link.js';
import { addFilter, filterText, question } from '../state/filters.js';
import { change, changeRange, hrefOf, params, zone } from '../state/location.js';
import { language, t } from '../text/text.js';
import { Figure } from '../widgets/number.js';
import { Panel } from '../widgets/panel.js';

/** What of a session the list shows. */
export interface SessionRow {
  readonly session_id: string;
  readonly started_at: string;
  readonly ended_at: string | null;
  readonly duration_ms: number;
  readonly user: string;
  readonly source_ip: string;
  readonly dest_host: string;
  readonly dest_port: number;
  readonly protocol: string;
  readonly status: string;
  readonly close_reason: string | null;
  readonly bytes_sent: number;
  readonly bytes_received: number;
}

interface Page {
  readonly items: readonly SessionRow[];
  readonly next_cursor: string | null;
}

const PAGE = '100';
const SORTS = ['started_at', 'ended_at', 'duration_ms', 'bytes'] as const;
const KINDS = ['started', 'ended', 'open'] as const;
const EXPORTS = ['csv', 'ndjson', 'parquet'] as const;
/** More rows than a person reads; an export has them all. */
const ROWS_MAX = 5_000;

export function Sessions() {
  const own: (readonly [string, string])[] = [];
  for (const name of ['in', 'sort', 'order']) {
    const value = params.value.get(name);
    if (value !== null) own.push([name, value]);
  }
  const asked = [...question.value, ...own];
  const first = useAnswer<Page>('/sessions', [...asked, ['limit', PAGE]], 0);
  const more = useSignal<{ rows: readonly SessionRow[]; cursor: string | null } | null>(null);
  const key = JSON.stringify(asked);
  useEffect(() => {
    more.value = null;
  }, [key]);

  const load = async (cursor: string): Promise<void> => {
    const signal = new AbortController().signal;
    const page = await get<Page>(
      '/sessions',
      [...asked, ['limit', PAGE], ['cursor', cursor]],
      signal,
    );
    more.value = {
      rows: [...(more.value?.rows ?? []), ...page.items],
      cursor: page.next_cursor,
    };
  };

  return (
    <>
      <h1>{t.value.nav.sessions}</h1>
      <div class="actions">
        <Choice
          name="in"
          values={KINDS}
          label={t.value.list.kind}
          textOf={(value) => t.value.list.kinds[value]}
        />
        <Choice
          name="sort"
          values={SORTS}
          label={t.value.list.sort}
          textOf={(value) => t.value.list.sorts[value]}
        />
        <span class="grow" />
        {EXPORTS.map((format) => (
          <a
            key={format}
            class="button"
            download
            href={`/api/v1/sessions?${new URLSearchParams([...asked.map(([a, b]) => [a, b]), ['format', format]]).toString()}`}
          >
            {t.value.list.export(format.toUpperCase())}
          </a>
        ))}
      </div>
      <Panel
        title={t.value.nav.sessions}
        {...first}
        filter={filterText.value}
        widen={() => {
          changeRange({ kind: 'last', amount: 30, unit: 'd' });
        }}
        isEmpty={({ items }) => items.length === 0}
      >
        {({ items, next_cursor }) => {
          const rows = [...items, ...(more.value?.rows ?? [])];
          const cursor = more.value === null ? next_cursor : more.value.cursor;
          return (
            <>
              <SessionTable rows={rows} />
              {cursor === null || rows.length >= ROWS_MAX ? null : (
                <button
                  type="button"
                  onClick={() => {
                    void load(cursor);
                  }}
                >
                  {t.value.table.more}
                </button>
              )}
            </>
          );
        }}
      </Panel>
    </>
  );
}

function Choice<T extends string>(props: {
  readonly name: string;
  readonly values: readonly T[];
  readonly label: string;
  readonly textOf: (value: T) => string;
}) {
  return (
    <label>
      {props.label}{' '}
      <select
        value={params.value.get(props.name) ?? props.values[0]}
        onChange={(event) => {
          const { value } = event.currentTarget;
          change({ [props.name]: value === props.values[0] ? null : value });
        }}
      >
        {props.values.map((value) => (
          <option key={value} value={value}>
            {props.textOf(value)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A value that becomes a filter when it is clicked. */
function Clickable({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <button
      type="button"
      class="value"
      title={`${name}:${value}`}
      onClick={() => {
        addFilter(name, value);
      }}
    >
      <bdi>{value}</bdi>
    </button>
  );
}

export function SessionTable({ rows }: { readonly rows: readonly SessionRow[] }) {
  return (
    <div class="wide" tabIndex={0} role="group" aria-label={t.value.nav.sessions}>
      <table class="sessions">
        <thead>
          <tr>
            <th scope="col">{t.value.field.started_at}</th>
            <th scope="col">{t.value.field.user}</th>
            <th scope="col">{t.value.field.source_ip}</th>
            <th scope="col">{t.value.field.dest_host}</th>
            <th scope="col" class="number">
              {t.value.field.duration_ms}
            </th>
            <th scope="col" class="number">
              ↑ {t.value.measure.bytes_sent}
            </th>
            <th scope="col" class="number">
              ↓ {t.value.measure.bytes_received}
            </th>
            <th scope="col">{t.value.field.status}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.session_id}>
              <td data-label={t.value.field.started_at}>
                <Link href={hrefOf(`/session/${row.session_id}`)}>
                  {showTime(zone.value, Date.parse(row.started_at))}
                </Link>
              </td>
              <td data-label={t.value.field.user}>
                <Clickable name="user" value={row.user} />
              </td>
              <td data-label={t.value.field.source_ip}>
                <Clickable name="source_ip" value={row.source_ip} />
              </td>
              <td data-label={t.value.field.dest_host}>
                <Clickable name="dest_host" value={row.dest_host} />:{row.dest_port}
                {row.protocol === 'tcp' ? null : <small class="muted"> {row.protocol}</small>}
              </td>
              <td
                class="number"
                data-label={t.value.field.duration_ms}
                title={String(row.duration_ms)}
              >
                {showDuration(row.duration_ms)}
              </td>
              <td class="number" data-label={`↑ ${t.value.measure.bytes_sent}`}>
                <Figure value={row.bytes_sent} show={showBytes} />
              </td>
              <td class="number" data-label={`↓ ${t.value.measure.bytes_received}`}>
                <Figure value={row.bytes_received} show={showBytes} />
              </td>
              <td data-label={t.value.field.status}>
                <Status status={row.status} reason={row.close_reason} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const SHAPES: Readonly<Record<string, string>> = {
  active: '●',
  closed: '○',
  failed: '✕',
  rejected_by_acl: '⊘',
};

/** A status as word, shape and colour: a grey picture of the page stays readable. */
export function Status(props: { readonly status: string; readonly reason: string | null }) {
  return (
    <span class={`status is-${props.status}`} lang={language.value}>
      <i aria-hidden="true">{SHAPES[props.status] ?? '?'}</i> {props.status}
      {props.reason === null ? null : <small class="muted"> {props.reason}</small>}
    </span>
  );
}
