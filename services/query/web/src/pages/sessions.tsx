import { useAnswer } from '../api/use-answer.js';
import { showBytes, showCount } from '../format/numbers.js';
import { question } from '../state/filters.js';
import { change, params } from '../state/location.js';
import { t } from '../text/text.js';
import { Choice } from '../widgets/choice.js';
import { Exports } from '../widgets/exports.js';
import { useMore } from '../widgets/more.js';
import { Figure } from '../widgets/number.js';
import { Panel } from '../widgets/panel.js';
import {
  DEFAULT_COLUMNS,
  headingOf,
  HISTORY_COLUMNS,
  SessionTable,
} from '../widgets/session-table.js';
import type { Column, SessionRow } from '../widgets/session-table.js';

interface Page {
  readonly items: readonly SessionRow[];
  readonly next_cursor: string | null;
}
interface Totals {
  readonly totals?: {
    readonly sessions: number;
    readonly bytes_sent: number;
    readonly bytes_received: number;
  };
}

const PAGE = '100';
const SORTS = ['started_at', 'ended_at', 'duration_ms', 'bytes'] as const;
const KINDS = ['started', 'ended', 'open'] as const;

/** The columns that the address names; the default columns if it names none. */
function columnsOf(text: string | null): readonly Column[] {
  const wanted = (text ?? '').split(',');
  const known = HISTORY_COLUMNS.filter((name) => wanted.includes(name));
  return known.length === 0 ? DEFAULT_COLUMNS : known;
}

export function Sessions() {
  const own: (readonly [string, string])[] = [];
  for (const name of ['in', 'sort', 'order']) {
    const value = params.value.get(name);
    if (value !== null) own.push([name, value]);
  }
  const asked = [...question.value, ...own];
  const paged = [...asked, ['limit', PAGE] as const];
  const first = useAnswer<Page>('/sessions', paged, 0);
  const totals = useAnswer<Totals>('/sessions', [...asked, ['limit', '1'], ['totals', 'true']], 0);
  const more = useMore<SessionRow>('/sessions', paged);
  const columns = columnsOf(params.value.get('columns'));
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
        <ColumnPicker columns={columns} />
        <span class="grow" />
        <Exports path="/sessions" asked={asked} />
      </div>
      <Panel
        title={t.value.nav.sessions}
        {...first}
        isRanged
        isEmpty={({ items }) => items.length === 0}
        actions={<Sums totals={totals.loaded.value?.totals} />}
      >
        {(page) => (
          <>
            <SessionTable rows={more.rowsOf(page)} columns={columns} />
            {more.button(page)}
          </>
        )}
      </Panel>
    </>
  );
}

/** The sums of all sessions that pass, not only of the rows that are shown. */
function Sums({ totals }: { readonly totals: Totals['totals'] | undefined }) {
  if (totals === undefined) return null;
  return (
    <span class="sums">
      <Figure value={totals.sessions} show={showCount} /> {t.value.list.sessions} · ↑{' '}
      <Figure value={totals.bytes_sent} show={showBytes} /> ↓{' '}
      <Figure value={totals.bytes_received} show={showBytes} />
    </span>
  );
}

function ColumnPicker({ columns }: { readonly columns: readonly Column[] }) {
  return (
    <details class="menu">
      <summary class="button">{t.value.list.columns}</summary>
      <fieldset>
        <legend class="visually-hidden">{t.value.list.columns}</legend>
        {HISTORY_COLUMNS.map((name) => (
          <label key={name} class="check">
            <input
              type="checkbox"
              checked={columns.includes(name)}
              onChange={(event) => {
                const next = HISTORY_COLUMNS.filter((each) =>
                  each === name ? event.currentTarget.checked : columns.includes(each),
                );
                const isDefault = next.join() === DEFAULT_COLUMNS.join();
                change(
                  { columns: isDefault || next.length === 0 ? null : next.join(',') },
                  'replace',
                );
              }}
            />{' '}
            {headingOf(name)}
          </label>
        ))}
      </fieldset>
    </details>
  );
}
