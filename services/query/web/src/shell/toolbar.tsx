import { useSignal } from '@preact/signals';
import { send } from '../api/client.js';
import { inputTime, momentsAt, monthOf, showPeriod, showSpan, showTime } from '../format/times.js';
import {
  change,
  changeRange,
  isComparing,
  isPaused,
  range,
  togglePause,
  zone,
} from '../state/location.js';
import { me } from '../state/me.js';
import { between, LAST, lastOf, momentOf, shift, shiftPeriod } from '../state/range.js';
import type { Range } from '../state/range.js';
import { choose, theme } from '../state/theme.js';
import type { Route } from './routes.js';
import { LANGUAGES, language, speak, t } from '../text/text.js';

const LANGUAGE_NAMES = { en: 'English', pl: 'Polski' } as const;
const CUSTOM = 'custom';
const OWN_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Months that the range picker offers: this one and those before it. */
const MONTHS = 3;

function monthsUntil(last: string): string[] {
  const found = [last];
  while (found.length < MONTHS) found.push(shiftPeriod(found.at(-1) ?? last, -1));
  return found;
}

/** Controls of what a page shows: its range, a comparison and a pause. */
export function Toolbar({ uses }: { readonly uses: Route['uses'] }) {
  return (
    <div class="toolbar" role="group" aria-label={t.value.range.label}>
      {uses.includes('range') ? <RangePicker /> : null}
      {uses.includes('compare') ? (
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
      {uses.includes('pause') ? (
        <button
          type="button"
          aria-pressed={isPaused.value}
          title={isPaused.value ? t.value.range.paused : undefined}
          onClick={togglePause}
        >
          {t.value.range.pause}
        </button>
      ) : null}
    </div>
  );
}

/** The range and its neighbours. */
function RangePicker() {
  const now = range.value;
  const text =
    now.kind === 'last' ? `${now.amount}${now.unit}` : now.kind === 'period' ? now.period : '';
  const months = monthsUntil(monthOf(zone.value, Date.now()));
  const isCustom = useSignal(false);
  return (
    <>
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
          const next: Range | null = months.includes(value)
            ? { kind: 'period', period: value }
            : lastOf(value);
          if (next !== null) changeRange(next);
        }}
      >
        {[...LAST, ...months].includes(text) ? null : <option value={text}>{nameOf(now)}</option>}
        {LAST.map((each) => (
          <option key={each} value={each}>
            {t.value.range.last(showSpan(each, language.value))}
          </option>
        ))}
        {months.map((each) => (
          <option key={each} value={each}>
            {showPeriod(each, language.value)}
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
    </>
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
      return showPeriod(chosen.period, language.value);
    case 'between':
      return `${nameOfEnd(chosen.from)} – ${nameOfEnd(chosen.to)}`;
    case 'last':
      return t.value.range.last(showSpan(`${chosen.amount}${chosen.unit}`, language.value));
  }
}

/** One end of a range in the zone of the page, to the minute; what is no time stays as it is. */
function nameOfEnd(text: string): string {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? text : showTime(zone.value, ms).slice(0, 16);
}

const DAY_MS = 86_400_000;

/** Two moments in the zone of the page, which the address keeps in UTC. */
function Custom({ done }: { readonly done: () => void }) {
  const nowMs = Date.now();
  const now = range.value;
  const ends = now.kind === 'between' ? [now.from, now.to] : [];
  const [fromMs = nowMs - DAY_MS, toMs = nowMs] = ends.map((end) => momentOf(end, nowMs) ?? nowMs);
  const texts = useSignal([fromMs, toMs].map((ms) => inputTime(zone.value, ms).slice(0, 16)));
  const moments = texts.value.map((text) => momentsAt(zone.value, text)[0]);
  const [start, end] = moments;
  return (
    <form
      class="custom"
      onSubmit={(event) => {
        event.preventDefault();
        if (start === undefined || end === undefined) return;
        changeRange(between(start, end));
        done();
      }}
    >
      {[t.value.range.from, t.value.range.to].map((label, at) => (
        <label key={label}>
          {label}{' '}
          <input
            type="datetime-local"
            required
            value={texts.value[at]}
            onInput={(event) => {
              const typed = event.currentTarget.value;
              texts.value = texts.value.map((text, index) => (index === at ? typed : text));
            }}
          />
        </label>
      ))}
      <button type="submit" disabled={start === undefined || end === undefined || start >= end}>
        {t.value.range.apply}
      </button>
    </form>
  );
}
