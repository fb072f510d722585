import { useSignal } from '@preact/signals';
import { change, params } from '../../state/location.js';
import { t } from '../../text/text.js';
import { COMPLAINT_CHARS_MAX, readComplaint } from './complaint.js';
import type { Complaint, FoundAddress, FoundTime } from './complaint.js';
import { FIELDS } from './fields.js';

/** The moment of a time: null if its zone is not known, or its clock never showed it. */
function momentOf({ wall, offset }: FoundTime): number | null {
  if (offset === null) return null;
  const { year, month, day, hour, minute, second } = wall;
  return Date.UTC(year, month - 1, day, hour, minute - offset, second);
}

/** The text, and the values in it to choose from. */
export function Paste() {
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
                  aria-pressed={
                    ms === null
                      ? params.value.get('wall') === wallText(found)
                      : params.value.get('time') === new Date(ms).toISOString()
                  }
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
