import { useAnswer } from '../api/use-answer.js';
import { showBytes, showCount } from '../format/numbers.js';
import { monthOf, showPeriod } from '../format/times.js';
import { Link } from '../shell/link.js';
import { filters } from '../state/filters.js';
import { change, hrefOf, range, zone } from '../state/location.js';
import { isTied } from '../state/me.js';
import { shiftPeriod } from '../state/range.js';
import { language, t } from '../text/text.js';
import { Exports } from '../widgets/exports.js';
import { useMore } from '../widgets/more.js';
import { Change, Figure } from '../widgets/number.js';
import { Panel } from '../widgets/panel.js';
import { numeric, Table } from '../widgets/table.js';

interface FiguresOf {
  readonly bytes_sent: number;
  readonly bytes_received: number;
  readonly sessions_started: number | null;
}
interface Row extends FiguresOf {
  readonly user: string;
  readonly previous?: FiguresOf;
}
interface Page {
  readonly items: readonly Row[];
  readonly next_cursor: string | null;
  readonly total: FiguresOf;
}

const PAGE = '100';

/** Every user of a calendar month, for bills and reports. */
export function Usage() {
  const chosen = range.value;
  const period = chosen.kind === 'period' ? chosen.period : monthOf(zone.value, Date.now());
  const asked: (readonly [string, string])[] = [
    ['period', period],
    ['time_zone', zone.value],
    ...filters.value,
    ['sort', 'bytes'],
  ];
  const paged = [...asked, ['previous', 'true'] as const, ['limit', PAGE] as const];
  const first = useAnswer<Page>('/top/users', paged, 0);
  const more = useMore<Row>('/top/users', paged);
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
        <Exports path="/top/users" asked={asked} />
      </div>
      <Panel
        title={t.value.usage.title(showPeriod(period, language.value))}
        {...first}
        isEmpty={({ items }) => items.length === 0}
      >
        {(page) => (
          <>
            <Table
              name={t.value.nav.usage}
              columns={[
                t.value.field.user,
                numeric(`↑ ${t.value.measure.bytes_sent}`),
                numeric(`↓ ${t.value.measure.bytes_received}`),
                numeric(t.value.measure.bytes, true),
                numeric(t.value.usage.change),
                numeric(t.value.measure.sessions),
              ]}
            >
              <tbody>
                {more.rowsOf(page).map((row) => (
                  <UsageRow key={row.user} row={row} period={period} />
                ))}
              </tbody>
              <tfoot>
                <tr>
                  <th scope="row">{t.value.table.total}</th>
                  <Figures of={page.total} />
                  <td />
                  <Sessions of={page.total} />
                </tr>
              </tfoot>
            </Table>
            {more.button(page)}
          </>
        )}
      </Panel>
    </>
  );
}

function Figures({ of: figures }: { readonly of: FiguresOf }) {
  return (
    <>
      <td class="number" data-label={`↑ ${t.value.measure.bytes_sent}`}>
        <Figure value={figures.bytes_sent} show={showBytes} />
      </td>
      <td class="number" data-label={`↓ ${t.value.measure.bytes_received}`}>
        <Figure value={figures.bytes_received} show={showBytes} />
      </td>
      <td class="number" data-label={t.value.measure.bytes}>
        <Figure value={figures.bytes_sent + figures.bytes_received} show={showBytes} />
      </td>
    </>
  );
}

function Sessions({
  of: figures,
  line = '',
}: {
  readonly of: FiguresOf;
  readonly line?: '' | 'line';
}) {
  return (
    <td class={`number ${line}`} data-label={t.value.measure.sessions}>
      <Figure value={figures.sessions_started ?? 0} show={showCount} />
    </td>
  );
}

function UsageRow({ row, period }: { readonly row: Row; readonly period: string }) {
  const month = ['period', period] as const;
  const { previous } = row;
  const before = previous === undefined ? 0 : previous.bytes_sent + previous.bytes_received;
  return (
    <tr>
      <th scope="row">
        <Link
          href={
            isTied.value
              ? hrefOf('/sessions', [['user', row.user], month])
              : hrefOf(`/entity/user/${encodeURIComponent(row.user)}`, [month])
          }
        >
          <bdi>{row.user}</bdi>
        </Link>
      </th>
      <Figures of={row} />
      <td class="number" data-label={t.value.usage.change}>
        <Change before={before} now={row.bytes_sent + row.bytes_received} />
      </td>
      <Sessions of={row} line="line" />
    </tr>
  );
}
