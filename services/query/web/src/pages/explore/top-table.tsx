import { addressOf } from '../../api/client.js';
import { useAnswer } from '../../api/use-answer.js';
import { showBytes, showCount } from '../../format/numbers.js';
import { Link } from '../../shell/link.js';
import { filters, question } from '../../state/filters.js';
import { hrefOf } from '../../state/location.js';
import { mayExport } from '../../state/me.js';
import { language, t } from '../../text/text.js';
import { EXPORTS } from '../../widgets/choice.js';
import { useMore } from '../../widgets/more.js';
import { Change, Figure } from '../../widgets/number.js';
import { Panel } from '../../widgets/panel.js';
import { sessionsOf, TOP_PATHS } from './measures.js';
import type { Measure, Split } from './measures.js';

const PAGE = '100';
const COLUMNS = [
  'sessions_started',
  'sessions_closed',
  'sessions_failed',
  'sessions_rejected',
  'bytes_sent',
  'bytes_received',
] as const;

type Figures = Readonly<Record<(typeof COLUMNS)[number], number | null>>;
type Row = Figures & {
  readonly share: number;
  readonly previous?: Figures;
} & Partial<Readonly<Record<Split, string | number | null>>>;
interface Page {
  readonly items: readonly Row[];
  readonly next_cursor: string | null;
  readonly total: Figures;
}

/** Every value of a field with all its figures, and their sum. */
export function TopTable({ measure, split }: { readonly measure: Measure; readonly split: Split }) {
  const path = TOP_PATHS[split];
  const asked = [...question.value, ['sort', measure] as const];
  const paged = [...asked, ['previous', 'true'] as const, ['limit', PAGE] as const];
  const first = useAnswer<Page>(path, paged, 0);
  const more = useMore<Row>(path, paged);
  return (
    <Panel
      title={t.value.field[split]}
      {...first}
      isRanged
      isEmpty={({ items }) => items.length === 0}
      actions={
        mayExport.value
          ? EXPORTS.map((format) => (
              <a
                key={format}
                class="button"
                download
                href={addressOf(path, [...asked, ['format', format]])}
              >
                {t.value.list.export(format.toUpperCase())}
              </a>
            ))
          : null
      }
    >
      {(page) => (
        <>
          <div class="wide" tabIndex={0} role="group" aria-label={t.value.field[split]}>
            <table class="cards">
              <thead>
                <tr>
                  <th scope="col">{t.value.field[split]}</th>
                  {COLUMNS.map((name) => (
                    <th
                      key={name}
                      scope="col"
                      class="number"
                      aria-sort={name === measure ? 'descending' : undefined}
                    >
                      {t.value.measure[name]}
                    </th>
                  ))}
                  <th scope="col" class="number">
                    {t.value.explore.share}
                  </th>
                  <th scope="col" class="number">
                    {t.value.usage.change}
                  </th>
                </tr>
              </thead>
              <tbody>
                {more.rowsOf(page).map((row) => (
                  <TopRow key={String(row[split])} row={row} split={split} measure={measure} />
                ))}
              </tbody>
              <tfoot>
                <tr>
                  <th scope="row">{t.value.table.total}</th>
                  <Figures of={page.total} />
                  <td />
                  <td />
                </tr>
              </tfoot>
            </table>
          </div>
          {more.button(page)}
        </>
      )}
    </Panel>
  );
}

function TopRow(props: { readonly row: Row; readonly split: Split; readonly measure: Measure }) {
  const { row, split, measure } = props;
  const key = String(row[split] ?? '');
  const own = [[split, key] as const, ...sessionsOf(measure)];
  const kept = filters.value.filter(([name]) => !own.some(([each]) => each === name));
  return (
    <tr>
      <th scope="row">
        <Link href={hrefOf('/sessions', [...kept, ...own])}>
          <bdi>{key === '' ? '–' : key}</bdi>
        </Link>
      </th>
      <Figures of={row} />
      <td class="number" data-label={t.value.explore.share}>
        {new Intl.NumberFormat(language.value, {
          style: 'percent',
          maximumFractionDigits: 1,
        }).format(row.share)}
      </td>
      <td class="number" data-label={t.value.usage.change}>
        <Change before={row.previous?.[measure] ?? 0} now={row[measure] ?? 0} />
      </td>
    </tr>
  );
}

function Figures({ of: figures }: { readonly of: Figures }) {
  return (
    <>
      {COLUMNS.map((name) => {
        const value = figures[name];
        return (
          <td key={name} class="number" data-label={t.value.measure[name]}>
            {value === null ? (
              '–'
            ) : (
              <Figure value={value} show={name.startsWith('bytes_') ? showBytes : showCount} />
            )}
          </td>
        );
      })}
    </>
  );
}
