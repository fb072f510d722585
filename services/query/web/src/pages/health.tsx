import type { ComponentChildren } from 'preact';
import { useAnswer } from '../api/use-answer.js';
import { showDuration, showExact } from '../format/numbers.js';
import { showTime } from '../format/times.js';
import { Link } from '../shell/link.js';
import { lagOf, silenceOf, STALE_MS } from '../state/freshness.js';
import type { Pipeline } from '../state/freshness.js';
import { hrefOf, zone } from '../state/location.js';
import { isAdmin, me } from '../state/me.js';
import { language, t } from '../text/text.js';
import { Panel } from '../widgets/panel.js';
import { numeric, Table } from '../widgets/table.js';
import { Audit, Keys, SignIns } from './admin.js';

const EVERY_MS = 5_000;

/** The pipeline hop by hop: from the proxies to the sums. */
export function Health() {
  const answer = useAnswer<Pipeline>('/pipeline', [], EVERY_MS);
  return (
    <>
      <h1>{t.value.nav.health}</h1>
      <Panel title={t.value.health.pipeline} {...answer}>
        {(value) => <Hops of={value} />}
      </Panel>
      <div class="grid">
        <div class="half stack">
          <Panel
            title={t.value.health.proxies}
            {...answer}
            isEmpty={({ proxies }) => proxies.length === 0}
          >
            {(value) => <Proxies of={value} />}
          </Panel>
          <Account />
        </div>
        <div class="half">
          <Panel
            title={t.value.health.partitions}
            {...answer}
            isEmpty={({ partitions }) => partitions.length === 0}
          >
            {(value) => <Partitions of={value} />}
          </Panel>
        </div>
        <Panel title={t.value.health.deadLetters} {...answer}>
          {(value) => <DeadLetters of={value} />}
        </Panel>
        {isAdmin.value && me.value?.kind !== 'local' ? <Keys /> : null}
        {isAdmin.value && me.value?.kind !== 'local' ? <SignIns /> : null}
        {isAdmin.value ? <Audit /> : null}
      </div>
    </>
  );
}

type State = 'good' | 'warn' | 'bad';
const SHAPES: Readonly<Record<State, string>> = { good: '✓', warn: '⚠', bad: '✕' };

/** One hop: its task, its state, and the number that shows it. */
function Hop(props: {
  readonly name: string;
  readonly state: State;
  readonly children: ComponentChildren;
}) {
  return (
    <li class={`hop is-${props.state}`}>
      <b>
        <i aria-hidden="true">{SHAPES[props.state]}</i> {props.name}
      </b>
      <span class="state">{t.value.health.states[props.state]}</span>
      {props.children}
    </li>
  );
}

const number = (value: number): string =>
  new Intl.NumberFormat(language.value, { maximumSignificantDigits: 3 }).format(value);

function stateOf(lagMs: number): State {
  return lagMs > 10 * STALE_MS ? 'bad' : lagMs > STALE_MS ? 'warn' : 'good';
}

function Hops({ of: pipeline }: { readonly of: Pipeline }) {
  const { proxies, events, partitions, sums, as_of } = pipeline;
  const nowMs = Date.parse(as_of);
  const rate = Object.values(events.per_second).reduce((sum, each) => sum + each, 0);
  const lag = lagOf(pipeline);
  const silence = silenceOf(pipeline);
  const waiting = partitions.filter(({ waits }) => waits !== null);
  const delay = events.delay_ms?.p99 ?? 0;
  const sumsLag = sums.oldest_changed === null ? 0 : nowMs - Date.parse(sums.oldest_changed);
  return (
    <ol class="hops">
      <Hop name={t.value.health.hops.proxies} state={proxies.length === 0 ? 'warn' : 'good'}>
        <span>{t.value.health.heard(proxies.length)}</span>
      </Hop>
      <Hop
        name={t.value.health.hops.ingest}
        state={waiting.length > 0 ? 'bad' : partitions.length === 0 ? 'warn' : stateOf(lag)}
      >
        <span>
          {waiting.length > 0
            ? t.value.health.waits(waiting.length)
            : silence > 0
              ? t.value.health.silent(showDuration(silence))
              : lag === 0
                ? t.value.health.caughtUp
                : t.value.health.lag(showDuration(lag))}
        </span>
      </Hop>
      <Hop name={t.value.health.hops.tables} state={stateOf(delay)}>
        <span>{t.value.health.events(number(rate))}</span>
        {events.delay_ms === null ? null : (
          <span class="muted">
            {t.value.health.delay(showSigned(events.delay_ms.p50), showSigned(events.delay_ms.p99))}
          </span>
        )}
        {events.last_stored_at === null ? null : (
          <span class="muted">
            {t.value.health.stored(showDuration(nowMs - Date.parse(events.last_stored_at)))}
          </span>
        )}
      </Hop>
      <Hop
        name={t.value.health.hops.sums}
        // The hour that runs changes all the time.
        state={sumsLag > 3 * 3_600_000 && sums.changed > 10 ? 'warn' : 'good'}
      >
        <span>
          {sums.changed === 0 ? t.value.health.allSummed : t.value.health.changed(sums.changed)}
        </span>
      </Hop>
    </ol>
  );
}

function showSigned(ms: number): string {
  return ms < 0 ? `−${showDuration(-ms)}` : showDuration(ms);
}

function Proxies({ of: { proxies, as_of } }: { readonly of: Pipeline }) {
  const nowMs = Date.parse(as_of);
  return (
    <Table
      name={t.value.health.proxies}
      columns={[
        t.value.field.proxy_id,
        numeric(t.value.health.perSecond),
        numeric(t.value.health.lastEvent),
      ]}
    >
      <tbody>
        {proxies.map((proxy) => (
          <tr key={proxy.proxy_id}>
            <th scope="row">
              <Link href={hrefOf(`/entity/proxy_id/${encodeURIComponent(proxy.proxy_id)}`)}>
                <bdi>{proxy.proxy_id}</bdi>
              </Link>
            </th>
            <td class="number line" data-label={t.value.health.perSecond}>
              {number(proxy.events_per_second)}
            </td>
            <td
              class="number line"
              data-label={t.value.health.lastEvent}
              title={showTime(zone.value, Date.parse(proxy.last_event_at))}
            >
              {t.value.state.age(
                showDuration(Math.max(0, nowMs - Date.parse(proxy.last_stored_at))),
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

function Partitions({ of: { partitions } }: { readonly of: Pipeline }) {
  return (
    <Table
      name={t.value.health.partitions}
      columns={[t.value.health.partition, numeric(t.value.health.offset), t.value.field.status]}
    >
      <tbody>
        {partitions.map((each) => (
          <tr key={`${each.topic} ${each.partition}`}>
            <th scope="row" title={each.topic}>
              {each.partition}
            </th>
            <td class="number" data-label={t.value.health.offset}>
              {showExact(each.next_offset, language.value)}
            </td>
            <td data-label={t.value.field.status}>
              {each.waits === null ? (
                each.caught_up ? (
                  <span class="hop is-good">
                    <i aria-hidden="true">✓</i> {t.value.health.caughtUp}
                  </span>
                ) : (
                  <span class={`hop is-${stateOf(each.lag_ms)}`}>
                    <i aria-hidden="true">{SHAPES[stateOf(each.lag_ms)]}</i>{' '}
                    {t.value.health.lag(showDuration(each.lag_ms))}
                  </span>
                )
              ) : (
                <span class="hop is-bad">
                  <i aria-hidden="true">✕</i>{' '}
                  {t.value.health.waitsSince(
                    showTime(zone.value, Date.parse(each.waits.since)),
                    each.waits.offset,
                  )}{' '}
                  <bdi>{each.waits.reason}</bdi>
                </span>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

/** Records that are not events, by reason, each with the newest as an example. */
function DeadLetters({ of: { dead_letters } }: { readonly of: Pipeline }) {
  if (dead_letters.length === 0) return <p>✓ {t.value.health.noDeadLetters}</p>;
  return (
    <Table
      name={t.value.health.deadLetters}
      columns={[
        t.value.health.reason,
        numeric(t.value.health.records),
        t.value.health.newest,
        t.value.health.sample,
      ]}
    >
      <tbody>
        {dead_letters.map(({ reason, letters, last_at, sample }) => (
          <tr key={reason}>
            <th scope="row">{reason}</th>
            <td class="number" data-label={t.value.health.records}>
              {showExact(letters, language.value)}
            </td>
            <td data-label={t.value.health.newest}>{showTime(zone.value, Date.parse(last_at))}</td>
            <td data-label={t.value.health.sample}>
              <code>
                {sample.topic}/{sample.partition}@{sample.offset}
              </code>{' '}
              <bdi>{sample.detail ?? ''}</bdi>
            </td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

/** The signed-in caller and its rights. */
function Account() {
  const who = me.value;
  if (who === null) return null;
  return (
    <section class="panel" aria-label={t.value.health.account}>
      <header>
        <h2>{t.value.health.account}</h2>
      </header>
      <dl class="fields">
        <div>
          <dt>{t.value.health.id}</dt>
          <dd>
            <bdi>{who.id}</bdi>
          </dd>
        </div>
        <div>
          <dt>{t.value.health.scopes}</dt>
          <dd>{who.scopes.join(', ')}</dd>
        </div>
        <div>
          <dt>{t.value.health.masked}</dt>
          <dd>
            {[
              who.masked.users ? t.value.measure.unique_users : null,
              who.masked.addresses ? t.value.field.source_ip : null,
            ]
              .filter((each) => each !== null)
              .join(', ') || t.value.health.nothing}
          </dd>
        </div>
      </dl>
    </section>
  );
}
