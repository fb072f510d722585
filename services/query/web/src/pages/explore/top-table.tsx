import { useAnswer } from '../../api/use-answer.js';
import { showBytes, showCount } from '../../format/numbers.js';
import { Link } from '../../shell/link.js';
import { exactly, filters, question } from '../../state/filters.js';
import { hrefOf } from '../../state/location.js';
import { language, t } from '../../text/text.js';
import { Exports } from '../../widgets/exports.js';
import { useMore } from '../../widgets/more.js';
import { Change, Figure } from '../../widgets/number.js';
import { Panel } from '../../widgets/panel.js';
import { numeric, Table } from '../../widgets/table.js';
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
      actions={<Exports path={path} asked={asked} />}
    >
      {(page) => (
        <>
          <Table
            name={t.value.field[split]}
            columns={[
              t.value.field[split],
              ...COLUMNS.map((name) => numeric(t.value.measure[name], name === measure)),
              numeric(t.value.explore.share),
              numeric(t.value.usage.change),
            ]}
          >
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
          </Table>
          {more.button(page)}
        </>
      )}
    </Panel>
  );
}

function TopRow(props: { readonly row: Row; readonly split: Split; readonly measure: Measure }) {
  const { row, split, measure } = props;
  const key = String(row[split] ?? '');
  const own = [exactly(split, key), ...sessionsOf(measure)];
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
