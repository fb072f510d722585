import type { Schemas } from '@sockscope/client';
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { addressOf } from '../../api/client.js';
import { useAnswer } from '../../api/use-answer.js';
import { showDuration } from '../../format/numbers.js';
import { momentsOf, showTime, withOffset } from '../../format/times.js';
import { change, params, zone } from '../../state/location.js';
import { mayExport } from '../../state/me.js';
import { t } from '../../text/text.js';
import { Panel } from '../../widgets/panel.js';
import { SessionTable } from '../../widgets/session-table.js';
import { COMPLAINT_CHARS_MAX, readComplaint } from './complaint.js';
import type { Complaint, FoundAddress, FoundTime } from './complaint.js';

type Answer = Schemas['Lookup'];

/** What a lookup names, in the API's own words: the state of the page. */
const FIELDS = ['egress_ip', 'egress_port', 'dest_ip', 'dest_host', 'dest_port'] as const;
const ADDRESSES = ['egress_ip', 'dest_ip', 'dest_host'] as const;
const SKEWS_S = [0, 30, 120, 600, 3_600] as const;
const SKEW_DEFAULT = '120';

/** Who was behind an address: from the text of a complaint to the report that answers it. */
export function Lookup() {
  const asked = questionOf();
  return (
    <>
      <h1>{t.value.nav.lookup}</h1>
      <p class="muted">{t.value.lookup.what}</p>
      <div class="grid">
        <div class="half">
          <Paste />
        </div>
        <div class="half">
          <Understood key={params.value.toString()} />
        </div>
        {asked === null ? null : <Found asked={asked} />}
      </div>
    </>
  );
}

/** The question that the address of the page asks; null if something is missing. */
function questionOf(): (readonly [string, string])[] | null {
  const given = params.value;
  // A time without a zone is none yet, and all days would be looked through for nothing.
  if (given.has('wall') || !ADDRESSES.some((name) => given.has(name))) return null;
  return [...FIELDS, 'time', 'skew'].flatMap((name) => {
    const value = given.get(name);
    return value === null ? [] : [[name, value] as const];
  });
}

/** The moment of a time: null if its zone is not known, or its clock never showed it. */
function momentOf({ wall, offset }: FoundTime): number | null {
  if (offset === null) return null;
  const { year, month, day, hour, minute, second } = wall;
  return Date.UTC(year, month - 1, day, hour, minute - offset, second);
}

/** The text, and what of it there is to choose from. */
function Paste() {
  const text = useSignal('');
  const read = useSignal<Complaint | null>(null);
  const understand = (given: string): void => {
    text.value = given;
    const found = readComplaint(given, Date.now());
    read.value = found;
    const time = found.times[0];
    const ms = time === undefined ? null : momentOf(time);
    const egress = found.addresses.find(({ role }) => role === 'egress');
    const dest = found.addresses.find(({ role }) => role === 'dest');
    change(
      {
        ...Object.fromEntries([...FIELDS, 'time', 'wall'].map((name) => [name, null])),
        ...named('egress', egress),
        ...named('dest', dest),
        time: ms === null ? null : new Date(ms).toISOString(),
        // Without a zone it is no moment yet: the form asks for it.
        wall: time !== undefined && ms === null ? wallText(time) : null,
      },
      'replace',
    );
  };
  return (
    <section class="panel" aria-label={t.value.lookup.text}>
      <header>
        <h2>{t.value.lookup.text}</h2>
      </header>
      <textarea
        aria-label={t.value.lookup.paste}
        placeholder={t.value.lookup.paste}
        rows={12}
        maxLength={COMPLAINT_CHARS_MAX}
        spellcheck={false}
        value={text.value}
        onInput={(event) => {
          understand(event.currentTarget.value);
        }}
      />
      {read.value === null || text.value === '' ? null : <Choices read={read.value} />}
    </section>
  );
}

const wallText = ({ wall }: FoundTime): string => {
  const two = (value: number) => String(value).padStart(2, '0');
  return `${wall.year}-${two(wall.month)}-${two(wall.day)}T${two(wall.hour)}:${two(wall.minute)}:${two(wall.second)}`;
};

function named(
  role: FoundAddress['role'],
  found: FoundAddress | undefined,
): Record<string, string | null> {
  return found === undefined
    ? {}
    : {
        [`${role}_ip`]: found.ip,
        [`${role}_port`]: found.port === null ? null : String(found.port),
      };
}

/** All that was found: a click takes one as the address, or the time, that is meant. */
function Choices({ read }: { readonly read: Complaint }) {
  if (read.addresses.length === 0) {
    return <p class="note">⚠ {t.value.lookup.nothing}</p>;
  }
  return (
    <dl class="choices" aria-live="polite">
      {(['egress', 'dest'] as const).map((role) => (
        <div key={role}>
          <dt>{role === 'egress' ? t.value.lookup.ours : t.value.lookup.theirs}</dt>
          <dd>
            {read.addresses.map((found) => (
              <button
                key={found.ip}
                type="button"
                aria-pressed={params.value.get(`${role}_ip`) === found.ip}
                onClick={() => {
                  change(
                    params.value.get(`${role}_ip`) === found.ip
                      ? { [`${role}_ip`]: null, [`${role}_port`]: null }
                      : named(role, found),
                    'replace',
                  );
                }}
              >
                {found.ip}
                {found.port === null ? null : <span class="muted"> : {found.port}</span>}
              </button>
            ))}
          </dd>
        </div>
      ))}
      {read.times.length < 2 ? null : (
        <div>
          <dt>{t.value.lookup.time}</dt>
          <dd>
            {read.times.map((found) => {
              const ms = momentOf(found);
              return (
                <button
                  key={found.text}
                  type="button"
                  onClick={() => {
                    change(
                      ms === null
                        ? { time: null, wall: wallText(found) }
                        : { time: new Date(ms).toISOString(), wall: null },
                      'replace',
                    );
                  }}
                >
                  {found.text}
                </button>
              );
            })}
          </dd>
        </div>
      )}
    </dl>
  );
}

/** The form was sent just now. */
const hasAsked = { now: false };

/** The recognised fields, to be corrected by hand. */
function Understood() {
  const given = params.value;
  const values = useSignal<Readonly<Record<string, string>>>(
    Object.fromEntries(FIELDS.map((name) => [name, given.get(name) ?? ''])),
  );
  const wall = useSignal(wallOf(given));
  const chosenZone = useSignal(given.get('wall') === null ? zone.value : '');
  const nth = useSignal(0);
  const skew = useSignal(given.get('skew') ?? SKEW_DEFAULT);
  const moments = momentsAt(chosenZone.value, wall.value);
  const isZoneMissing = wall.value !== '' && chosenZone.value === '';
  const hasAddress = ADDRESSES.some((name) => values.value[name] !== '');
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
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
          <label key={name}>
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
        <label>
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
          class="primary"
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
  return given.get('wall') ?? (Number.isNaN(ms) ? '' : showTime(zone.value, ms).replace(' ', 'T'));
}

function momentsAt(zoneName: string, text: string): number[] {
  const parts = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2})(?::(\d{2}))?/.exec(text);
  if (parts === null || zoneName === '') return [];
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = parts
    .slice(1)
    .map((part) => Number(part ?? 0));
  return momentsOf(zoneName, { year, month, day, hour, minute, second });
}

/** The sessions that fit, what the answer cannot know, and the report. */
function Found({ asked }: { readonly asked: readonly (readonly [string, string])[] }) {
  const answer = useAnswer<Answer>('/lookup', asked, 0);
  return (
    <Panel
      title={t.value.lookup.found}
      {...answer}
      isEmpty={() => false}
      actions={
        mayExport.value ? (
          <>
            {(['html', 'json'] as const).map((format) => (
              <a
                key={format}
                class={format === 'html' ? 'button primary' : 'button'}
                download
                href={addressOf('/lookup/evidence', [...asked, ['format', format]])}
              >
                {format === 'html' ? t.value.lookup.report : t.value.lookup.signed}
              </a>
            ))}
          </>
        ) : null
      }
    >
      {(value) => (
        <>
          <p>
            {t.value.lookup.between(
              value.items.length,
              showTime(zone.value, Date.parse(value.range.from)),
              showTime(zone.value, Date.parse(value.range.to)),
            )}
          </p>
          <Completeness of={value} />
          {value.items.length === 0 ? null : (
            <SessionTable
              rows={value.items}
              extra={{
                heading: t.value.lookup.fits,
                cell: (row) => <Fits row={row as Answer['items'][number]} />,
              }}
            />
          )}
        </>
      )}
    </Panel>
  );
}

function Fits({ row }: { readonly row: Answer['items'][number] }) {
  return (
    <>
      {row.distance_ms === null
        ? t.value.lookup.noTime
        : row.distance_ms === 0
          ? t.value.lookup.openThen
          : t.value.lookup.away(showDuration(row.distance_ms))}
      <small class="muted"> {row.matched.join(', ')}</small>
    </>
  );
}

function Completeness({ of: value }: { readonly of: Answer }) {
  const { completeness: known } = value;
  const time = (text: string) => showTime(zone.value, Date.parse(text));
  const notes = [
    value.truncated ? t.value.lookup.truncated : null,
    known.covers_range ? null : t.value.lookup.notYet,
    (known.egress_unrecorded ?? 0) > 0
      ? t.value.lookup.unrecorded(known.egress_unrecorded ?? 0)
      : null,
    known.sessions_since === null ? null : t.value.lookup.since(time(known.sessions_since)),
    (known.silent_proxies ?? []).length > 0
      ? t.value.lookup.silent((known.silent_proxies ?? []).join(', '))
      : null,
    ...known.clocks
      .filter(({ least_delay_ms }) => least_delay_ms < -1_000)
      .map(({ proxy_id, least_delay_ms }) =>
        t.value.lookup.clock(proxy_id, showDuration(-least_delay_ms)),
      ),
  ].filter((note) => note !== null);
  return notes.length === 0 ? (
    <p class="muted">✓ {t.value.lookup.whole}</p>
  ) : (
    <ul class="notes">
      {notes.map((note) => (
        <li key={note} class="note">
          ⚠ {note}
        </li>
      ))}
    </ul>
  );
}
