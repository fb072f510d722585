import type { Schemas } from '@sockscope/client';
import type { ComponentChildren } from 'preact';
import { showBytes, showCount, showDuration, showRate } from '../format/numbers.js';
import { showTime } from '../format/times.js';
import { Link } from '../shell/link.js';
import { clock } from '../state/clock.js';
import { addFilter, FIELDS } from '../state/filters.js';
import { hrefOf, path, zone } from '../state/location.js';
import { isTied } from '../state/me.js';
import { t } from '../text/text.js';
import { Figure } from './number.js';

/** A session, as far as an answer has it. */
export type SessionRow = Partial<Schemas['Session']> & {
  readonly session_id: string;
  readonly bytes_sent_per_second?: number;
  readonly bytes_received_per_second?: number;
};

/** The columns of a table of sessions, in this order. */
export const COLUMNS = [
  'started_at',
  'ended_at',
  'user',
  'source_ip',
  'dest_host',
  'dest_ip',
  'egress_ip',
  'protocol',
  'command',
  'auth_method',
  'proxy_id',
  'duration_ms',
  'connect_ms',
  'bytes_sent_per_second',
  'bytes_received_per_second',
  'bytes_sent',
  'bytes_received',
  'packets_sent',
  'packets_received',
  'acl_rule_matched',
  'error_code',
  'status',
] as const;
export type Column = (typeof COLUMNS)[number];
/** The columns of history: rates exist only for a moment. */
export const HISTORY_COLUMNS = COLUMNS.filter((name) => !name.endsWith('_per_second'));

export const DEFAULT_COLUMNS: readonly Column[] = [
  'started_at',
  'user',
  'source_ip',
  'dest_host',
  'duration_ms',
  'bytes_sent',
  'bytes_received',
  'status',
];

const NUMBERS: ReadonlySet<Column> = new Set<Column>([
  'duration_ms',
  'connect_ms',
  'bytes_sent_per_second',
  'bytes_received_per_second',
  'bytes_sent',
  'bytes_received',
  'packets_sent',
  'packets_received',
]);
/** Pages whose filters a click on a value adds to. Elsewhere it leads to the value's own page. */
const FILTERED = ['/sessions', '/live'];
const ENTITIES: ReadonlySet<string> = new Set([
  'user',
  'dest_host',
  'source_ip',
  'acl_rule_matched',
  'proxy_id',
]);

export function headingOf(name: Column | keyof Schemas['Session']): string {
  switch (name) {
    case 'bytes_sent':
      return `↑ ${t.value.measure.bytes_sent}`;
    case 'bytes_received':
      return `↓ ${t.value.measure.bytes_received}`;
    case 'bytes_sent_per_second':
      return `↑ ${t.value.live.rate}`;
    case 'bytes_received_per_second':
      return `↓ ${t.value.live.rate}`;
    case 'packets_sent':
      return `↑ ${t.value.field.packets}`;
    case 'packets_received':
      return `↓ ${t.value.field.packets}`;
    default:
      return t.value.field[name];
  }
}

/** Class of a cell. In a card, numbers in two directions share a line. */
function classOf(name: Column): string | undefined {
  if (!NUMBERS.has(name)) return undefined;
  return /(?:_sent|_received|_per_second)$/.test(name) ? 'number' : 'number line';
}

interface Props {
  readonly rows: readonly SessionRow[];
  readonly columns?: readonly Column[];
  readonly name?: string;
  /** Sessions of rows that are shown for their place only. */
  readonly gone?: ReadonlySet<string>;
  /** The moment that the rows are of, if it is not the present: until then each was open. */
  readonly nowMs?: number;
  /** A column of the page's own, the first. */
  readonly extra?: {
    readonly heading: string;
    readonly cell: (row: SessionRow) => ComponentChildren;
  };
}

/** Sessions as rows; on a narrow page each is a card. */
export function SessionTable(props: Props) {
  const { rows, columns = DEFAULT_COLUMNS, name, gone, nowMs, extra } = props;
  return (
    <div class="wide" tabIndex={0} role="group" aria-label={name ?? t.value.nav.sessions}>
      <table class="cards sessions">
        <thead>
          <tr>
            {extra === undefined ? null : <th scope="col">{extra.heading}</th>}
            {columns.map((each) => (
              <th key={each} scope="col" class={NUMBERS.has(each) ? 'number' : undefined}>
                {headingOf(each)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr
              key={row.session_id}
              class={gone?.has(row.session_id) === true ? 'gone' : undefined}
            >
              {extra === undefined ? null : <td data-label={extra.heading}>{extra.cell(row)}</td>}
              {columns.map((each, at) => (
                <td key={each} class={classOf(each)} data-label={headingOf(each)}>
                  {at === 0 && each !== 'started_at' ? (
                    <Link href={hrefOf(`/session/${row.session_id}`)}>
                      <bdi>{String(row[each] ?? '–')}</bdi>
                    </Link>
                  ) : (
                    <Cell row={row} column={each} nowMs={nowMs} />
                  )}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Cell(props: {
  readonly row: SessionRow;
  readonly column: Column;
  readonly nowMs: number | undefined;
}) {
  const { row, column, nowMs } = props;
  const value = row[column] ?? null;
  switch (column) {
    case 'started_at':
      return (
        <Link href={hrefOf(`/session/${row.session_id}`)}>
          <Time at={row.started_at ?? null} />
        </Link>
      );
    case 'ended_at':
      return <Time at={row.ended_at ?? null} />;
    case 'duration_ms':
      return <Lasted row={row} nowMs={nowMs} />;
    case 'connect_ms':
      return <>{value === null ? '–' : showDuration(Number(value))}</>;
    case 'bytes_sent':
    case 'bytes_received':
      return value === null ? <>–</> : <Figure value={Number(value)} show={showBytes} />;
    case 'bytes_sent_per_second':
    case 'bytes_received_per_second':
      return <Figure value={Math.round(Number(value))} show={showRate} />;
    case 'packets_sent':
    case 'packets_received':
      return value === null ? <>–</> : <Figure value={Number(value)} show={showCount} />;
    case 'dest_host':
      return (
        <>
          <Value name="dest_host" value={row.dest_host ?? null} />
          {row.dest_port === undefined ? null : <span class="muted">:{row.dest_port}</span>}
          {row.protocol === 'udp' ? <small class="muted"> udp</small> : null}
        </>
      );
    case 'egress_ip':
      return (
        <>
          <Value name="egress_ip" value={row.egress_ip ?? null} />
          {row.egress_port === null || row.egress_port === undefined ? null : (
            <span class="muted">:{row.egress_port}</span>
          )}
        </>
      );
    case 'status':
      return <Status status={row.status ?? ''} reason={row.close_reason ?? null} />;
    default:
      return <Value name={column} value={value === null ? null : String(value)} />;
  }
}

function Time({ at }: { readonly at: string | null }) {
  return at === null ? <>–</> : <time dateTime={at}>{showTime(zone.value, Date.parse(at))}</time>;
}

/** How long a session was open, or had been at the moment that is shown. */
function Lasted(props: { readonly row: SessionRow; readonly nowMs: number | undefined }) {
  const { nowMs } = props;
  const { duration_ms, started_at, status } = props.row;
  if (nowMs === undefined && typeof duration_ms === 'number' && status !== 'active')
    return <span title={`${duration_ms} ms`}>{showDuration(duration_ms)}</span>;
  if (started_at === undefined) return <>–</>;
  return <>{showDuration(Math.max(0, (nowMs ?? clock.value) - Date.parse(started_at)))}</>;
}

/** A value that leads on: it becomes a filter, or opens its own page. */
function Value({ name, value }: { readonly name: string; readonly value: string | null }) {
  if (value === null || value === '') return <>–</>;
  if (FIELDS.has(name) && FILTERED.includes(path.value)) {
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
  if (!ENTITIES.has(name) || isTied.value) return <bdi>{value}</bdi>;
  return (
    <Link href={hrefOf(`/entity/${name}/${encodeURIComponent(value)}`)}>
      <bdi>{value}</bdi>
    </Link>
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
    <span class={`status is-${props.status}`} lang="en">
      <i aria-hidden="true">{SHAPES[props.status] ?? '?'}</i> {props.status}
      {props.reason === null ? null : <small class="muted"> {props.reason}</small>}
    </span>
  );
}
