import { useSignal } from '@preact/signals';
import { send } from '../api/client.js';
import { withOffset } from '../format/times.js';
import { change, changeRange, isComparing, range, zone } from '../state/location.js';
import { me } from '../state/me.js';
import { LAST, lastOf, shift } from '../state/range.js';
import type { Range } from '../state/range.js';
import { choose, theme } from '../state/theme.js';
import { LANGUAGES, language, speak, t } from '../text/text.js';

const LANGUAGE_NAMES = { en: 'English', pl: 'Polski' } as const;
const CUSTOM = 'custom';
const OWN_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The range, its neighbours, and comparison with the period before. */
export function Toolbar({ compares }: { readonly compares: boolean }) {
  const now = range.value;
  const text = now.kind === 'last' ? `${now.amount}${now.unit}` : '';
  const isCustom = useSignal(false);
  return (
    <div class="toolbar" role="group" aria-label={t.value.range.label}>
      <button
        type="button"
        aria-label={t.value.range.previous}
        onClick={() => {
          changeRange(shift(now, -1, Date.now()));
        }}
      >
        ‹
      </button>
      <select
        aria-label={t.value.range.label}
        value={text}
        onChange={(event) => {
          const { value } = event.currentTarget;
          isCustom.value = value === CUSTOM;
          const next = lastOf(value);
          if (next !== null) changeRange(next);
        }}
      >
        {(LAST as readonly string[]).includes(text) ? null : (
          <option value={text}>{nameOf(now)}</option>
        )}
        {LAST.map((each) => (
          <option key={each} value={each}>
            {t.value.range.last(each)}
          </option>
        ))}
        <option value={CUSTOM}>{t.value.range.custom}</option>
      </select>
      <button
        type="button"
        aria-label={t.value.range.next}
        onClick={() => {
          changeRange(shift(now, 1, Date.now()));
        }}
      >
        ›
      </button>
      {isCustom.value ? (
        <Custom
          done={() => {
            isCustom.value = false;
          }}
        />
      ) : null}
      {compares ? (
        <label class="check">
          <input
            type="checkbox"
            checked={isComparing.value}
            onChange={(event) => {
              change({ compare: event.currentTarget.checked ? '1' : null });
            }}
          />{' '}
          {t.value.compare}
        </label>
      ) : null}
    </div>
  );
}

/** The zone, language and theme of every page, and the signed-in caller. */
export function Settings() {
  const zones = [...new Set(['UTC', OWN_ZONE, zone.value])];
  return (
    <div class="settings">
      <select
        aria-label={t.value.zone}
        value={zone.value}
        onChange={(event) => {
          const { value } = event.currentTarget;
          change({ time_zone: value === 'UTC' ? null : value });
        }}
      >
        {zones.map((each) => (
          <option key={each} value={each}>
            {each}
          </option>
        ))}
      </select>
      <select
        aria-label={t.value.language}
        value={language.value}
        onChange={(event) => {
          const next = LANGUAGES.find((each) => each === event.currentTarget.value) ?? 'en';
          window.localStorage.setItem('sockscope.language', next);
          void speak(next);
        }}
      >
        {LANGUAGES.map((each) => (
          <option key={each} value={each}>
            {LANGUAGE_NAMES[each]}
          </option>
        ))}
      </select>
      <button
        type="button"
        title={t.value.theme.label}
        onClick={() => {
          choose(theme.value === 'dark' ? 'light' : 'dark');
        }}
      >
        {theme.value === 'dark' ? t.value.theme.light : t.value.theme.dark}
      </button>
      {me.value?.signed_in === true ? (
        <button
          type="button"
          title={me.value.id}
          onClick={() => {
            void signOut();
          }}
        >
          {t.value.signIn.out}
        </button>
      ) : null}
    </div>
  );
}

async function signOut(): Promise<void> {
  await send('/logout', {});
  // From scratch: no seen data stays in memory.
  window.location.assign('/sign-in');
}

function nameOf(chosen: Range): string {
  switch (chosen.kind) {
    case 'period':
      return chosen.period;
    case 'between':
      return `${chosen.from.slice(0, 16)} – ${chosen.to.slice(0, 16)}`;
    case 'last':
      return t.value.range.last(`${chosen.amount}${chosen.unit}`);
  }
}

/** Two moments in the zone of the page. */
function Custom({ done }: { readonly done: () => void }) {
  const start = withOffset(zone.value, Date.now()).slice(0, 10);
  const from = useSignal(start);
  const to = useSignal('');
  return (
    <form
      class="custom"
      onSubmit={(event) => {
        event.preventDefault();
        // A date without a time is midnight of the page's zone: the API reads it so.
        changeRange({ kind: 'between', from: from.value, to: to.value === '' ? 'now' : to.value });
        done();
      }}
    >
      <label>
        {t.value.range.from}{' '}
        <input
          type="date"
          required
          value={from.value}
          onInput={(event) => {
            from.value = event.currentTarget.value;
          }}
        />
      </label>
      <label>
        {t.value.range.to}{' '}
        <input
          type="date"
          value={to.value}
          onInput={(event) => {
            to.value = event.currentTarget.value;
          }}
        />
      </label>
      <button type="submit">{t.value.range.apply}</button>
    </form>
  );
}
