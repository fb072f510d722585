import type { Signals } from '@sockscope/schemas/api';
import { useAnswer } from '../api/use-answer.js';
import { showBytes, showDuration, showExact } from '../format/numbers.js';
import { showTime } from '../format/times.js';
import { Link } from '../shell/link.js';
import { hrefOf, range, zone } from '../state/location.js';
import { rangeParams } from '../state/range.js';
import type { Range } from '../state/range.js';
import { language, t } from '../text/text.js';
import { Panel } from '../widgets/panel.js';
import { Table } from '../widgets/table.js';

const KINDS = ['shared_account', 'scan', 'mail', 'beacon', 'first_seen'] as const;
type Kind = (typeof KINDS)[number];
type Finding = Signals['items'][number];

const ROWS = '50';
/** The API looks through no longer range. */
const DAYS_MAX = 7;
/** A search through all sessions of a range: not every few seconds. */
const EVERY_MS = 120_000;

function searched(chosen: Range): { readonly shown: Range; readonly isCut: boolean } {
  const isCut = chosen.kind === 'last' && chosen.unit === 'd' && chosen.amount > DAYS_MAX;
  return { isCut, shown: isCut ? { kind: 'last', amount: DAYS_MAX, unit: 'd' } : chosen };
}

/** Suspicious patterns and the reasons. A finding is a question to a person, not an answer. */
export function SignalsPage() {
  const { shown, isCut } = searched(range.value);
  return (
    <>
      <h1>{t.value.nav.signals}</h1>
      <p class="muted">
        {t.value.signals.what} {isCut ? t.value.signals.cut(DAYS_MAX) : null}
      </p>
      <div class="grid">
        {KINDS.map((kind) => (
          <Findings key={kind} kind={kind} searched={shown} />
        ))}
      </div>
    </>
  );
}

function Findings(props: { readonly kind: Kind; readonly searched: Range }) {
  const { kind } = props;
  const answer = useAnswer<Signals>(
    `/signals/${kind}`,
    [...Object.entries(rangeParams(props.searched)), ['time_zone', zone.value], ['limit', ROWS]],
    EVERY_MS,
  );
  const title = t.value.signals.kinds[kind];
  return (
    <Panel
      title={title}
      {...answer}
      note={({ truncated }) => (truncated ? t.value.signals.truncated : null)}
    >
      {({ items, thresholds }) => (
        <>
          <p class="muted">{t.value.signals.why[kind](thresholds)}</p>
          {items.length === 0 ? (
            <p>✓ {t.value.signals.none}</p>
          ) : (
            <Table
              name={title}
              columns={[
                t.value.field.user,
                t.value.field.dest_host,
                t.value.signals.found,
                t.value.range.from,
                t.value.range.to,
                t.value.signals.evidence,
              ]}
            >
              <tbody>
                {items.map((item) => (
                  <FindingRow key={JSON.stringify(item)} item={item} />
                ))}
              </tbody>
            </Table>
          )}
        </>
      )}
    </Panel>
  );
}

/** The list of a finding's sessions: the API names the filters, and the page has lists with the same filters. */
export function hrefOfSessions(url: string): string {
  const asked = new URLSearchParams(url.slice(url.indexOf('?') + 1));
  const at = asked.get('at');
  return hrefOf(at === null ? '/sessions' : '/live', [...asked]);
}

function FindingRow({ item }: { readonly item: Finding }) {
  const target = [
    item.dest_host,
    item.dest_port === null ? null : `${t.value.field.dest_port} ${item.dest_port}`,
  ].filter((part) => part !== null);
  return (
    <tr>
      <th scope="row">
        <Link href={hrefOf(`/entity/user/${encodeURIComponent(item.user)}`)}>
          <bdi>{item.user}</bdi>
        </Link>
        {item.source_ip === null ? null : <small class="muted"> {item.source_ip}</small>}
      </th>
      <td data-label={t.value.field.dest_host}>
        <bdi>{target.length === 0 ? '–' : target.join(' · ')}</bdi>
      </td>
      <td data-label={t.value.signals.found}>
        {Object.entries(item.figures)
          .map(([name, value]) => shownFigure(name, value))
          .join(', ')}
      </td>
      <td data-label={t.value.range.from}>{showTime(zone.value, Date.parse(item.from))}</td>
      <td data-label={t.value.range.to}>{showTime(zone.value, Date.parse(item.to))}</td>
      <td data-label={t.value.signals.evidence}>
        <Link href={hrefOfSessions(item.sessions_url)}>{t.value.signals.show}</Link>
      </td>
    </tr>
  );
}

function shownFigure(name: string, value: number): string {
  const texts: Readonly<Record<string, (value: string) => string>> = t.value.signals.figures;
  const text = name.startsWith('bytes_')
    ? unit(value)
    : name.endsWith('_ms')
      ? showDuration(value)
      : name === 'spread'
        ? `${Math.round(value * 100)}%`
        : showExact(value, language.value);
  return texts[name]?.(text) ?? `${name} ${text}`;
}

function unit(bytes: number): string {
  const shown = showBytes(bytes, language.value);
  return `${shown.digits} ${shown.unit}`;
}
