import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { showDuration } from '../../format/numbers.js';
import { inputTime, momentsAt, withOffset } from '../../format/times.js';
import { change, params, zone } from '../../state/location.js';
import { t } from '../../text/text.js';
import { ADDRESSES, FIELDS } from './fields.js';

const SKEWS_S = [0, 30, 120, 600, 3_600] as const;
const SKEW_DEFAULT = '120';

/** The form was sent just now. */
const hasAsked = { now: false };

/** The recognised fields, to be corrected by hand. */
export function Understood() {
  const given = params.value;
  const values = useSignal<Readonly<Record<string, string>>>(
    Object.fromEntries(FIELDS.map((name) => [name, given.get(name) ?? ''])),
  );
  const wall = useSignal(wallOf(given));
  const chosenZone = useSignal(given.get('wall') === null ? zone.value : '');
  const nth = useSignal(0);
  const skew = useSignal(given.get('skew') ?? SKEW_DEFAULT);
  const moments = chosenZone.value === '' ? [] : momentsAt(chosenZone.value, wall.value);
  const isZoneMissing = wall.value !== '' && chosenZone.value === '';
  const hasAddress = ADDRESSES.some((name) => values.value[name] !== '');
  const button = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => {
    // The form is made again when the address changes. The focus stays on its button.
    if (hasAsked.now) button.current?.focus();
    hasAsked.now = false;
  }, []);
  const ask = (): void => {
    hasAsked.now = true;
    const ms = moments[nth.value] ?? moments[0];
    change({
      ...Object.fromEntries(FIELDS.map((name) => [name, values.value[name]?.trim() || null])),
      time: ms === undefined ? null : new Date(ms).toISOString(),
      wall: null,
      skew: skew.value === SKEW_DEFAULT ? null : skew.value,
    });
  };
  return (
    <section class="panel" aria-label={t.value.lookup.understood}>
      <header>
        <h2>{t.value.lookup.understood}</h2>
      </header>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          ask();
        }}
      >
        {FIELDS.map((name) => (
          <label key={name} class={name === 'dest_ip' ? 'line' : undefined}>
            <span>{t.value.lookup.fields[name]}</span>
            <input
              type="text"
              inputMode={name.endsWith('_port') ? 'numeric' : 'text'}
              pattern={name.endsWith('_port') ? '\\d{1,5}' : undefined}
              spellcheck={false}
              autocomplete="off"
              value={values.value[name]}
              onInput={(event) => {
                values.value = { ...values.value, [name]: event.currentTarget.value };
              }}
            />
          </label>
        ))}
        <label class="line">
          <span>{t.value.lookup.time}</span>
          <input
            type="datetime-local"
            step="1"
            value={wall.value}
            onInput={(event) => {
              wall.value = event.currentTarget.value;
            }}
          />
        </label>
        <ZonePick value={chosenZone} isMissing={isZoneMissing} />
        {wall.value !== '' && !isZoneMissing && moments.length === 0 ? (
          <p class="note" role="alert">
            ⚠ {t.value.lookup.skipped}
          </p>
        ) : null}
        {moments.length < 2 ? null : (
          <label>
            <span>{t.value.lookup.twice}</span>
            <select
              value={String(nth.value)}
              onChange={(event) => {
                nth.value = Number(event.currentTarget.value);
              }}
            >
              {moments.map((ms, at) => (
                <option key={ms} value={String(at)}>
                  {withOffset(chosenZone.value, ms)}
                </option>
              ))}
            </select>
          </label>
        )}
        <label>
          <span>{t.value.lookup.skew}</span>
          <select
            value={skew.value}
            onChange={(event) => {
              skew.value = event.currentTarget.value;
            }}
          >
            {[...new Set([...SKEWS_S.map(String), skew.value])].map((each) => (
              <option key={each} value={each}>
                ± {showDuration(Number(each) * 1_000)}
              </option>
            ))}
          </select>
        </label>
        <button
          ref={button}
          type="submit"
          class="primary line"
          disabled={!hasAddress || (wall.value !== '' && moments.length === 0)}
        >
          {t.value.lookup.ask}
        </button>
      </form>
    </section>
  );
}

function ZonePick(props: { readonly value: { value: string }; readonly isMissing: boolean }) {
  const { value, isMissing } = props;
  const zones = [
    ...new Set(['UTC', zone.value, Intl.DateTimeFormat().resolvedOptions().timeZone]),
    ...Intl.supportedValuesOf('timeZone'),
  ];
  return (
    <label>
      <span>{t.value.zone}</span>
      <select
        aria-invalid={isMissing}
        value={value.value}
        onChange={(event) => {
          value.value = event.currentTarget.value;
        }}
      >
        {value.value === '' ? <option value="">{t.value.lookup.chooseZone}</option> : null}
        {zones.map((each) => (
          <option key={each} value={each}>
            {each}
          </option>
        ))}
      </select>
      {isMissing ? (
        <b class="problem" role="alert">
          {t.value.lookup.zoneMissing}
        </b>
      ) : null}
    </label>
  );
}

/** The clock of the form: as in the text, or the moment in the zone of the page. */
function wallOf(given: URLSearchParams): string {
  const ms = Date.parse(given.get('time') ?? '');
  return given.get('wall') ?? (Number.isNaN(ms) ? '' : inputTime(zone.value, ms));
}
