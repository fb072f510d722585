import type { ComponentChildren } from 'preact';
import type { Problem } from '../api/problem.js';
import type { Loaded } from '../api/resource.js';
import { showDuration } from '../format/numbers.js';
import { clock } from '../state/clock.js';
import { t } from '../text/text.js';

interface Props<T> {
  readonly title: string;
  readonly loaded: Loaded<T>;
  readonly retry: () => void;
  /** Whether an answer has nothing to show. */
  readonly isEmpty?: (value: T) => boolean;
  /** The filter that empties the answer, in the grammar; null if there is none. */
  readonly filter?: string | null;
  /** Widens the range, if that may help. */
  readonly widen?: (() => void) | undefined;
  /** What of the answer is not complete, in words; null if all is. */
  readonly note?: (value: T) => string | null;
  readonly children: (value: T) => ComponentChildren;
  readonly actions?: ComponentChildren;
}

/**
 * One widget of a page: its heading, its age, and the text while there is no answer. One that fails
 * leaves the others.
 */
export function Panel<T>(props: Props<T>) {
  const { value, at, isLoading, problem } = props.loaded;
  const age =
    value === null
      ? null
      : showDuration(Math.max(1, Math.round((clock.value - at) / 1_000)) * 1_000);
  return (
    <section class="panel" aria-label={props.title} aria-busy={isLoading}>
      <header>
        <h2>{props.title}</h2>
        {isLoading && value !== null ? <span class="spinner" aria-hidden="true" /> : null}
        {age === null ? null : <span class="muted age">{t.value.state.age(age)}</span>}
        {props.actions}
      </header>
      {problem === null ? null : <Failed problem={problem} retry={props.retry} />}
      {value === null ? (
        <Waiting isVisible={problem === null} />
      ) : props.isEmpty?.(value) === true ? (
        <Empty filter={props.filter ?? null} widen={props.widen} />
      ) : (
        <div class={isLoading ? 'body old' : 'body'}>
          <Note text={props.note?.(value) ?? null} />
          {props.children(value)}
        </div>
      )}
    </section>
  );
}

function Waiting({ isVisible }: { readonly isVisible: boolean }) {
  return isVisible ? (
    <div class="skeleton" role="status">
      {t.value.state.loading}
    </div>
  ) : null;
}

function Note({ text }: { readonly text: string | null }) {
  return text === null ? null : <p class="note">⚠ {text}</p>;
}

function Failed({ problem, retry }: { readonly problem: Problem; readonly retry: () => void }) {
  return (
    <div class="failed" role="alert">
      <strong>{problem.status === 0 ? t.value.state.offline : problem.title}</strong>
      {problem.detail === '' ? null : <p>{problem.detail}</p>}
      {problem.requestId === null ? null : (
        <p class="muted">{t.value.state.request(problem.requestId)}</p>
      )}
      <button type="button" onClick={retry}>
        {t.value.state.retry}
      </button>
    </div>
  );
}

function Empty(props: {
  readonly filter: string | null;
  readonly widen: (() => void) | undefined;
}) {
  return (
    <div class="empty">
      <p>
        {props.filter === null ? t.value.state.empty : t.value.state.emptyFiltered(props.filter)}
      </p>
      {props.widen === undefined ? null : (
        <button type="button" onClick={props.widen}>
          {t.value.state.widen}
        </button>
      )}
    </div>
  );
}
