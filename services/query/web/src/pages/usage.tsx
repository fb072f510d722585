import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { get } from '../api/client.js';
import { useAnswer } from '../api/use-answer.js';
import { showBytes, showCount } from '../format/numbers.js';
import { partsIn } from '../format/times.js';
import { Link } from '../shell/link.js';
import { filters, filterText } from '../state/filters.js';
import { change, hrefOf, range, zone } from '../state/location.js';
import { shiftPeriod } from '../state/range.js';
import { t } from '../text/text.js';
import { Change, Figure } from '../widgets/number.js';
import { Panel } from '../widgets/panel.js';

interface Figures {
  readonly bytes_sent: number;
  readonly bytes_received: number;
  readonly sessions_started: number | null;
}
interface Row extends Figures {
  readonly user: string;
  readonly previous?: Figures;
}
interface Page {
  readonly items: readonly Row[];
  readonly next_cursor: string | null;
  readonly total: Figures;
}

const PAGE = '100';
const ROWS_MAX = 20_000;
const FORMATS = ['csv', 'ndjson', 'parquet'] as const;

function thisMonth(): string {
  const { year, month } = partsIn(zone.value, Date.now());
  return `${year}-${String(month).padStart(2, '0')}`;
}

/** Every user of a calendar month: what people bill and report from. */
export function Usage() {
  const chosen = range.value;
  const period = chosen.kind === 'period' ? chosen.period : thisMonth();
  const asked: (readonly [string, string])[] = [
    ['period', period],
    ['time_zone', zone.value],
    ...filters.value,
    ['sort', 'bytes'],
  ];
  const first = useAnswer<Page>('/top/users', [...asked, ['previous', 'true'], ['limit', PAGE]], 0);
  const more = useSignal<{ rows: readonly Row[]; cursor: string | null } | null>(null);
  const key = JSON.stringify(asked);
  useEffect(() => {
    more.value = null;
  }, [key]);
  const load = async (cursor: string): Promise<void> => {
    const page = await get<Page>(
      '/top/users',
      [...asked, ['previous', 'true'], ['limit', PAGE], ['cursor', cursor]],
      new AbortController().signal,
    );
    more.value = { rows: [...(more.value?.rows ?? []), ...page.items], cursor: page.next_cursor };
  };
  const goTo = (next: string): void => {
    change({ from: null, to: null, period: next });
  };
  return (
    <>
      <h1>{t.value.nav.usage}</h1>
      <div class="actions">
        <button
          type="button"
          aria-label={t.value.range.previous}
          onClick={() => {
            goTo(shiftPeriod(period, -1));
          }}
        >
          ‹
        </button>
        <label>
          {t.value.range.month}{' '}
          <input
            type="month"
            value={period.slice(0, 7)}
            onChange={(event) => {
              if (event.currentTarget.value !== '') goTo(event.currentTarget.value);
            }}
          />
        </label>
        <button
          type="button"
          aria-label={t.value.range.next}
          onClick={() => {
            goTo(shiftPeriod(period, 1));
          }}
        >
          ›
        </button>
        <span class="grow" />
        {FORMATS.map((format) => (
          <a
            key={format}
            class="button"
            download
            href={`/api/v1/top/users?${new URLSearchParams([...asked.map(([a, b]) => [a, b]), ['format', format]]).toString()}`}
          >
            {t.value.list.export(format.toUpperCase())}
          </a>
        ))}
      </div>
      <Panel
        title={t.value.usage.title(period)}
        {...first}
        filter={filterText.value}
        isEmpty={({ items }) => items.length === 0}
      >
        {({ items, next_cursor }) => {
          const rows = [...items, ...(more.value?.rows ?? [])];
          const cursor = more.value === null ? next_cursor : more.value.cursor;
          return (
            <div class="wide" tabIndex={0} role="group" aria-label={t.value.nav.usage}>
              <table>
                <thead>
                  <tr>
                    <th scope="col">{t.value.field.user}</th>
                    <th scope="col" class="number">
                      ↑ {t.value.measure.bytes_sent}
                    </th>
                    <th scope="col" class="number">
                      ↓ {t.value.measure.bytes_received}
                    </th>
                    <th scope="col" class="number">
                      {t.value.measure.bytes}
                    </th>
                    <th scope="col" class="number">
                      {t.value.usage.change}
                    </th>
                    <th scope="col" class="number">
                      {t.value.measure.sessions}
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {rows.map((row) => (
                    <UsageRow key={row.user} row={row} />
                  ))}
                </tbody>
              </table>
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
            </div>
          );
        }}
      </Panel>
    </>
  );
}

function UsageRow({ row }: { readonly row: Row }) {
  const bytes = row.bytes_sent + row.bytes_received;
  const before =
    row.previous === undefined ? 0 : row.previous.bytes_sent + row.previous.bytes_received;
  return (
    <tr>
      <th scope="row">
        <Link href={hrefOf(`/entity/user/${encodeURIComponent(row.user)}`)}>
          <bdi>{row.user}</bdi>
        </Link>
      </th>
      <td class="number">
        <Figure value={row.bytes_sent} show={showBytes} />
      </td>
      <td class="number">
        <Figure value={row.bytes_received} show={showBytes} />
      </td>
      <td class="number">
        <Figure value={bytes} show={showBytes} />
      </td>
      <td class="number">
        <Change before={before} now={bytes} />
      </td>
      <td class="number">
        <Figure value={row.sessions_started ?? 0} show={showCount} />
      </td>
    </tr>
  );
}
