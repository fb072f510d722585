/** The page for administrators: API keys, browser sessions, and the audit log. */
import type { Schemas } from '@sockscope/client';
import { useSignal } from '@preact/signals';
import { send } from '../api/client.js';
import { Problem } from '../api/problem.js';
import { useAnswer } from '../api/use-answer.js';
import { useRemoval } from '../api/use-removal.js';
import { showExact } from '../format/numbers.js';
import { showTime } from '../format/times.js';
import { zone } from '../state/location.js';
import { language, t } from '../text/text.js';
import { useMore } from '../widgets/more.js';
import { Failed, Panel } from '../widgets/panel.js';
import { numeric, Table } from '../widgets/table.js';

type Entry = Schemas['AuditPage']['items'][number];

const SCOPES = ['read', 'export', 'admin'] as const;
const DAY_MS = 86_400_000;
/** Days of life that a key may get; 0: for ever. */
const LIFETIMES = [30, 90, 365, 0] as const;
const PAGE = '50';

const time = (text: string | null): string =>
  text === null ? '–' : showTime(zone.value, Date.parse(text));

export function Keys() {
  const answer = useAnswer<Schemas['Keys']>('/keys', [], 0);
  const { problem, remove } = useRemoval(answer.retry);
  return (
    <Panel title={t.value.keysOf.title} {...answer}>
      {({ items }) => (
        <>
          {problem === null ? null : <Failed problem={problem} />}
          <Table
            name={t.value.keysOf.title}
            columns={[
              t.value.keysOf.name,
              t.value.health.scopes,
              t.value.keysOf.users,
              t.value.keysOf.expires,
              t.value.keysOf.used,
              t.value.field.status,
            ]}
          >
            <tbody>
              {items.map((key) => (
                <tr key={key.key_id}>
                  <th scope="row">
                    <bdi>{key.name}</bdi> <small class="muted">{key.key_id}</small>
                  </th>
                  <td data-label={t.value.health.scopes}>{key.scopes.join(', ')}</td>
                  <td data-label={t.value.keysOf.users}>
                    <bdi>{key.users === null ? t.value.keysOf.all : key.users.join(', ')}</bdi>
                  </td>
                  <td data-label={t.value.keysOf.expires}>{time(key.expires_at)}</td>
                  <td data-label={t.value.keysOf.used}>{time(key.last_used_at)}</td>
                  <td data-label={t.value.field.status}>
                    {t.value.keysOf.states[key.state]}{' '}
                    {key.state === 'valid' ? (
                      <button
                        type="button"
                        onClick={() => {
                          remove(`/keys/${key.key_id}`, t.value.keysOf.confirm(key.name));
                        }}
                      >
                        {t.value.keysOf.revoke}
                      </button>
                    ) : null}
                  </td>
                </tr>
              ))}
            </tbody>
          </Table>
          <NewKey made={answer.retry} />
        </>
      )}
    </Panel>
  );
}

function NewKey({ made }: { readonly made: () => void }) {
  const name = useSignal('');
  const scopes = useSignal<readonly string[]>(['read']);
  const users = useSignal('');
  const days = useSignal<number>(90);
  const key = useSignal<string | null>(null);
  const problem = useSignal<Problem | null>(null);
  const make = async (): Promise<void> => {
    const named = users.value
      .split(',')
      .map((user) => user.trim())
      .filter((user) => user !== '');
    try {
      const created = await send<Schemas['KeyCreated']>('/keys', {
        name: name.value,
        scopes: scopes.value,
        users: named.length === 0 ? null : named,
        expires_at:
          days.value === 0 ? null : new Date(Date.now() + days.value * DAY_MS).toISOString(),
      });
      key.value = created?.key ?? null;
      problem.value = null;
      name.value = '';
      made();
    } catch (error) {
      problem.value = Problem.of(error);
    }
  };
  return (
    <details>
      <summary>{t.value.keysOf.create}</summary>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void make();
        }}
      >
        <label>
          <span>{t.value.keysOf.name}</span>
          <input
            type="text"
            required
            maxLength={200}
            value={name.value}
            onInput={(event) => {
              name.value = event.currentTarget.value;
            }}
          />
        </label>
        <label>
          <span>{t.value.keysOf.onlyUsers}</span>
          <input
            type="text"
            spellcheck={false}
            value={users.value}
            onInput={(event) => {
              users.value = event.currentTarget.value;
            }}
          />
        </label>
        <label>
          <span>{t.value.keysOf.lifetime}</span>
          <select
            value={String(days.value)}
            onChange={(event) => {
              days.value = Number(event.currentTarget.value);
            }}
          >
            {LIFETIMES.map((each) => (
              <option key={each} value={String(each)}>
                {each === 0 ? t.value.keysOf.forever : t.value.keysOf.days(each)}
              </option>
            ))}
          </select>
        </label>
        <fieldset class="plain">
          <legend class="muted">{t.value.health.scopes}</legend>
          {SCOPES.map((scope) => (
            <label key={scope} class="check">
              <input
                type="checkbox"
                checked={scopes.value.includes(scope)}
                onChange={(event) => {
                  scopes.value = SCOPES.filter((each) =>
                    each === scope ? event.currentTarget.checked : scopes.value.includes(each),
                  );
                }}
              />{' '}
              {scope}
            </label>
          ))}
        </fieldset>
        <button type="submit" class="primary" disabled={scopes.value.length === 0}>
          {t.value.keysOf.make}
        </button>
      </form>
      {problem.value === null ? null : <Failed problem={problem.value} />}
      {key.value === null ? null : (
        <p class="note" role="status">
          {t.value.keysOf.once} <code>{key.value}</code>
        </p>
      )}
    </details>
  );
}

/** Browsers that are signed in, each to be signed out. */
export function SignIns() {
  const answer = useAnswer<Schemas['SignIns']>('/sign-ins', [], 0);
  const { problem, remove } = useRemoval(answer.retry);
  return (
    <Panel title={t.value.signIns.title} {...answer} isEmpty={({ items }) => items.length === 0}>
      {({ items }) => (
        <>
          {problem === null ? null : <Failed problem={problem} />}
          <Table
            name={t.value.signIns.title}
            columns={[
              t.value.audit.who,
              t.value.signIns.since,
              t.value.keysOf.expires,
              { text: t.value.audit.action, isHidden: true },
            ]}
          >
            <tbody>
              {items.map(({ sign_in_id, principal, created_at, expires_at }) => (
                <tr key={sign_in_id}>
                  <th scope="row">
                    <bdi>{principal}</bdi>
                  </th>
                  <td data-label={t.value.signIns.since}>{time(created_at)}</td>
                  <td data-label={t.value.keysOf.expires}>{time(expires_at)}</td>
                  <td>
                    <button
                      type="button"
                      onClick={() => {
                        remove(`/sign-ins/${sign_in_id}`, t.value.signIns.confirm(principal));
                      }}
                    >
                      {t.value.signIns.end}
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </Table>
        </>
      )}
    </Panel>
  );
}

export function Audit() {
  const asked = [['limit', PAGE] as const];
  const answer = useAnswer<Schemas['AuditPage']>('/audit', asked, 0);
  const more = useMore<Entry>('/audit', asked);
  return (
    <Panel title={t.value.audit.title} {...answer} isEmpty={({ items }) => items.length === 0}>
      {(page) => (
        <>
          <Table
            name={t.value.audit.title}
            columns={[
              t.value.audit.at,
              t.value.audit.who,
              t.value.audit.action,
              t.value.audit.details,
              numeric(t.value.audit.rows),
              t.value.audit.outcome,
            ]}
          >
            <tbody>
              {more.rowsOf(page).map((entry) => (
                <tr key={entry.entry_id}>
                  <td data-label={t.value.audit.at}>{time(entry.at)}</td>
                  <td data-label={t.value.audit.who}>
                    <bdi>{entry.principal}</bdi> <small class="muted">{entry.remote_ip}</small>
                  </td>
                  <td data-label={t.value.audit.action}>
                    {entry.action} <small class="muted">{entry.format}</small>
                  </td>
                  <td data-label={t.value.audit.details}>
                    <bdi>{detailsOf(entry)}</bdi>
                  </td>
                  <td class="number" data-label={t.value.audit.rows}>
                    {entry.rows === null ? '–' : showExact(entry.rows, language.value)}
                  </td>
                  <td data-label={t.value.audit.outcome}>{entry.outcome}</td>
                </tr>
              ))}
            </tbody>
          </Table>
          {more.button(page)}
        </>
      )}
    </Panel>
  );
}

function detailsOf({ details }: Entry): string {
  return Object.entries(details)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');
}
