import type { ActiveSession } from '@sockscope/schemas/api';
import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { useAnswer } from '../api/use-answer.js';
import { showBytes, showCount, showDuration, showRate } from '../format/numbers.js';
import { Link } from '../shell/link.js';
import { filters, filterText } from '../state/filters.js';
import { hrefOf } from '../state/location.js';
import { clock } from '../state/clock.js';
import { t } from '../text/text.js';
import { Figure } from '../widgets/number.js';
import { Panel } from '../widgets/panel.js';

interface Page {
  readonly items: readonly ActiveSession[];
  readonly total: number;
  readonly users: number;
}

const EVERY_MS = 2_000;
const ROWS = '200';

/** The open sessions with their rates. Rows keep their place while the page is paused, hovered or focused. */
export function Live() {
  const isPaused = useSignal(false);
  const isHeld = useSignal(false);
  const held = useRef<Page | null>(null);
  const answer = useAnswer<Page>(
    '/sessions/active',
    [...filters.value, ['limit', ROWS]],
    isPaused.value ? 0 : EVERY_MS,
  );
  return (
    <>
      <h1>{t.value.nav.live}</h1>
      <div class="actions">
        <button
          type="button"
          aria-pressed={isPaused.value}
          onClick={() => {
            isPaused.value = !isPaused.value;
          }}
        >
          {isPaused.value ? t.value.live.resume : t.value.live.pause}
        </button>
      </div>
      <Panel
        title={t.value.live.title}
        {...answer}
        filter={filterText.value}
        isEmpty={({ items }) => items.length === 0}
      >
        {(value) => {
          if (!isHeld.value && !isPaused.value) held.current = ranked(value);
          const shown = held.current ?? ranked(value);
          return (
            <>
              <p class="muted">
                <Figure value={value.total} show={showCount} /> {t.value.live.open},{' '}
                <Figure value={value.users} show={showCount} /> {t.value.live.users}
              </p>
              <div
                class="wide"
                tabIndex={0}
                role="group"
                aria-label={t.value.live.title}
                onPointerEnter={() => {
                  isHeld.value = true;
                }}
                onPointerLeave={() => {
                  isHeld.value = false;
                }}
                onFocusIn={() => {
                  isHeld.value = true;
                }}
                onFocusOut={() => {
                  isHeld.value = false;
                }}
              >
                <Rows rows={shown.items} />
              </div>
            </>
          );
        }}
      </Panel>
    </>
  );
}

const rateOf = (row: ActiveSession): number =>
  row.bytes_sent_per_second + row.bytes_received_per_second;

function ranked(page: Page): Page {
  return { ...page, items: page.items.toSorted((a, b) => rateOf(b) - rateOf(a)) };
}

function Rows({ rows }: { readonly rows: readonly ActiveSession[] }) {
  return (
    <table class="sessions">
      <thead>
        <tr>
          <th scope="col">{t.value.field.user}</th>
          <th scope="col">{t.value.field.source_ip}</th>
          <th scope="col">{t.value.field.dest_host}</th>
          <th scope="col" class="number">
            {t.value.live.age}
          </th>
          <th scope="col" class="number">
            ↑
          </th>
          <th scope="col" class="number">
            ↓
          </th>
          <th scope="col" class="number">
            {t.value.measure.bytes}
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.session_id}>
            <td data-label={t.value.field.user}>
              <Link href={hrefOf(`/session/${row.session_id}`)}>
                <bdi>{row.user}</bdi>
              </Link>
            </td>
            <td data-label={t.value.field.source_ip}>{row.source_ip}</td>
            <td data-label={t.value.field.dest_host}>
              <bdi>{row.dest_host}</bdi>:{row.dest_port}
            </td>
            <td class="number" data-label={t.value.live.age}>
              {showDuration(Math.max(0, clock.value - Date.parse(row.started_at)))}
            </td>
            <td class="number" data-label="↑">
              <Figure value={Math.round(row.bytes_sent_per_second)} show={showRate} />
            </td>
            <td class="number" data-label="↓">
              <Figure value={Math.round(row.bytes_received_per_second)} show={showRate} />
            </td>
            <td class="number" data-label={t.value.measure.bytes}>
              <Figure value={row.bytes_sent + row.bytes_received} show={showBytes} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
