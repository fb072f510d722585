import type { ComponentChildren } from 'preact';
import type { Problem } from '../api/problem.js';
import type { Loaded } from '../api/resource.js';
import { showDuration } from '../format/numbers.js';
import { showTime } from '../format/times.js';
import { clock } from '../state/clock.js';
import { filterText } from '../state/filters.js';
import { changeRange, zone } from '../state/location.js';
import { t } from '../text/text.js';

interface Props<T> {
  readonly title: string;
  readonly loaded: Loaded<T>;
  readonly retry: () => void;
  /** Whether an answer has nothing to show. */
  readonly isEmpty?: (value: T) => boolean;
  /** The range of the page decides the content, so a wider one may help if it is empty. */
  readonly isRanged?: boolean;
  /** The gaps of the answer, in words; null if it is complete. */
  readonly note?: (value: T) => string | null;
  /** The kind of content. Its place is kept free, so that nothing below moves when it comes. */
  readonly shape?: 'tiles' | 'numbers' | 'chart' | 'ranking';
  readonly children: (value: T) => ComponentChildren;
  readonly actions?: ComponentChildren;
}

/**
 * One widget of a page: its heading, its age, and the text while there is no answer. A widget that
 * fails leaves the others unchanged.
 */
export function Panel<T>(props: Props<T>) {
  const { value, isLoading, problem } = props.loaded;
  const meta = metaOf(value);
  const note = value === null ? null : (props.note?.(value) ?? partOf(meta));
  const shape = `of-${props.shape ?? 'any'}`;
  return (
    <section class="panel" aria-label={props.title} aria-busy={isLoading}>
      <header>
        <h2>{props.title}</h2>
        {isLoading && value !== null ? <span class="spinner" aria-hidden="true" /> : null}
        {value === null ? null : <Age at={props.loaded.at} meta={meta} note={note} />}
        {props.actions}
      </header>
      {problem === null ? null : <Failed problem={problem} retry={props.retry} />}
      {value === null ? (
        <Waiting isVisible={problem === null || problem.isBusy} shape={shape} />
      ) : (
        <div class={`body ${shape}${isLoading ? ' old' : ''}`}>
          {props.isEmpty?.(value) === true ? (
            <Empty isRanged={props.isRanged === true} />
          ) : (
            props.children(value)
          )}
        </div>
      )}
    </section>
  );
}

/** The completeness of an answer over a range, as the answer reports it. */
interface Meta {
  readonly data_until: string | null;
  readonly stale_hours: number;
  readonly incomplete_minutes: number;
}

function metaOf(value: unknown): Meta | null {
  return typeof value === 'object' && value !== null && 'incomplete_minutes' in value
    ? (value as Meta)
    : null;
}

function partOf(meta: Meta | null): string | null {
  if (meta === null) return null;
  if (meta.incomplete_minutes > 0) return t.value.state.partial;
  return meta.stale_hours > 0 ? t.value.state.staleHours(meta.stale_hours) : null;
}

/** The age of the answer, its gaps, and the time up to which it is complete. */
function Age(props: {
  readonly at: number;
  readonly meta: Meta | null;
  readonly note: string | null;
}) {
  const { at, meta, note } = props;
  const age = showDuration(Math.max(1, Math.round((clock.value - at) / 1_000)) * 1_000);
  const until = meta?.data_until ?? null;
  return (
    <span
      class="muted age"
      title={
        until === null ? undefined : t.value.state.until(showTime(zone.value, Date.parse(until)))
      }
    >
      {note !== null ? (
        <span class="part">⚠ {note} · </span>
      ) : meta === null ? null : (
        `${t.value.state.complete} · `
      )}
      {t.value.state.age(age)}
    </span>
  );
}

function Waiting(props: { readonly isVisible: boolean; readonly shape: string }) {
  return props.isVisible ? (
    <div class={`skeleton ${props.shape}`} role="status">
      {t.value.state.loading}
    </div>
  ) : null;
}

function Note({ text }: { readonly text: string | null }) {
  return text === null ? null : <p class="note">⚠ {text}</p>;
}

export function Failed(props: { readonly problem: Problem; readonly retry?: () => void }) {
  const { problem, retry } = props;
  // Nobody need do anything: the page asks again.
  if (problem.isBusy) return <Note text={t.value.state.busy} />;
  return (
    <div class="failed" role="alert">
      <strong>{problem.status === 0 ? t.value.state.offline : problem.title}</strong>
      {problem.detail === '' ? null : <p>{problem.detail}</p>}
      {problem.requestId === null ? null : <p>{t.value.state.request(problem.requestId)}</p>}
      {retry === undefined ? null : (
        <button type="button" onClick={retry}>
          {t.value.state.retry}
        </button>
      )}
    </div>
  );
}

function Empty({ isRanged }: { readonly isRanged: boolean }) {
  const filter = filterText.value;
  return (
    <div class="empty">
      <p>{filter === null ? t.value.state.empty : t.value.state.emptyFiltered(filter)}</p>
      {isRanged ? (
        <button
          type="button"
          onClick={() => {
            changeRange({ kind: 'last', amount: 30, unit: 'd' });
          }}
        >
          {t.value.state.widen}
        </button>
      ) : null}
    </div>
  );
}
