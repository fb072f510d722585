import { change, changeRange, isComparing, range } from '../state/location.js';
import { LAST, lastOf, shift } from '../state/range.js';
import { choose, theme } from '../state/theme.js';
import { t } from '../text/text.js';

/** The range, its neighbours, comparison and the theme: the same on every page. */
export function Toolbar() {
  const now = range.value;
  const text = now.kind === 'last' ? `${now.amount}${now.unit}` : '';
  return (
    <div class="toolbar" role="toolbar" aria-label={t.value.range.label}>
      <button
        type="button"
        aria-label={t.value.range.previous}
        onClick={() => changeRange(shift(now, -1, Date.now()))}
      >
        ‹
      </button>
      <select
        aria-label={t.value.range.label}
        value={text}
        onChange={(event) => {
          const next = lastOf(event.currentTarget.value);
          if (next !== null) changeRange(next);
        }}
      >
        {LAST.includes(text as (typeof LAST)[number]) ? null : (
          <option value={text}>
            {now.kind === 'period'
              ? now.period
              : now.kind === 'between'
                ? `${now.from} – ${now.to}`
                : t.value.range.last(text)}
          </option>
        )}
        {LAST.map((each) => (
          <option key={each} value={each}>
            {t.value.range.last(each)}
          </option>
        ))}
      </select>
      <button
        type="button"
        aria-label={t.value.range.next}
        onClick={() => changeRange(shift(now, 1, Date.now()))}
      >
        ›
      </button>
      <label>
        <input
          type="checkbox"
          checked={isComparing.value}
          onChange={(event) => change({ compare: event.currentTarget.checked ? '1' : null })}
        />{' '}
        {t.value.compare}
      </label>
      <span class="grow" />
      <button
        type="button"
        aria-label={t.value.theme.label}
        onClick={() => choose(theme.value === 'dark' ? 'light' : 'dark')}
      >
        {theme.value === 'dark' ? t.value.theme.light : t.value.theme.dark}
      </button>
    </div>
  );
}
