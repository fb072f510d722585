import type { Schemas } from '@sockscope/client';
import { addressOf } from '../../api/client.js';
import { useAnswer } from '../../api/use-answer.js';
import { showDuration } from '../../format/numbers.js';
import { showTime } from '../../format/times.js';
import { params, zone } from '../../state/location.js';
import { mayExport } from '../../state/me.js';
import { t } from '../../text/text.js';
import { Panel } from '../../widgets/panel.js';
import { SessionTable } from '../../widgets/session-table.js';
import { ADDRESSES, FIELDS } from './fields.js';
import { Understood } from './form.js';
import { Paste } from './paste.js';

type Answer = Schemas['Lookup'];

/** Finds the user behind an address: from the text of a complaint to the report that answers it. */
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

/** The matching sessions, the gaps of the answer, and the report. */
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

function nameOf(matched: string): string {
  const fields: Readonly<Record<string, string>> = t.value.lookup.fields;
  return fields[matched] ?? (matched === 'time' ? t.value.lookup.time : matched);
}

function Fits({ row }: { readonly row: Answer['items'][number] }) {
  return (
    <>
      {row.distance_ms === null
        ? t.value.lookup.noTime
        : row.distance_ms === 0
          ? t.value.lookup.openThen
          : t.value.lookup.away(showDuration(row.distance_ms))}
      <small class="muted"> {row.matched.map((name) => nameOf(name)).join(', ')}</small>
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
