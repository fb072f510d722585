import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { get } from '../api/client.js';
import type { Params } from '../api/client.js';
import { Problem } from '../api/problem.js';
import { t } from '../text/text.js';
import { Failed } from './panel.js';

interface Page<Row> {
  readonly items: readonly Row[];
  readonly next_cursor: string | null;
}

interface More<Row> {
  /** All rows so far, the first page's among them. */
  rowsOf(first: Page<Row>): readonly Row[];
  /** The button that loads the next page; after the last page, the number of rows. */
  button(first: Page<Row>): ComponentChildren;
}

/** More rows than a person reads; an export has them all. */
const ROWS_MAX = 20_000;

/** The pages behind the first one of a list. Another question begins from the start. */
export function useMore<Row>(path: string, params: Params): More<Row> {
  const asked = [...params];
  const more = useSignal<Page<Row> | null>(null);
  const problem = useSignal<Problem | null>(null);
  const isLoading = useSignal(false);
  const abort = useRef(new AbortController());
  const key = JSON.stringify([path, asked]);
  useEffect(() => {
    more.value = null;
    problem.value = null;
    const controller = new AbortController();
    abort.current = controller;
    return () => {
      controller.abort();
    };
  }, [key]);
  const load = async (cursor: string): Promise<void> => {
    const { signal } = abort.current;
    isLoading.value = true;
    try {
      const page = await get<Page<Row>>(path, [...asked, ['cursor', cursor]], signal);
      if (!signal.aborted) {
        more.value = {
          items: [...(more.value?.items ?? []), ...page.items],
          next_cursor: page.next_cursor,
        };
        problem.value = null;
      }
    } catch (error) {
      if (!signal.aborted) problem.value = Problem.of(error);
    }
    isLoading.value = false;
  };
  return {
    rowsOf: (first) => (more.value === null ? first.items : [...first.items, ...more.value.items]),
    button(first) {
      const { next_cursor: cursor } = more.value ?? first;
      const count = first.items.length + (more.value?.items.length ?? 0);
      if (cursor === null || count >= ROWS_MAX)
        return <p class="muted">{t.value.table.all(count)}</p>;
      return (
        <div class="more">
          {problem.value === null ? null : <Failed problem={problem.value} />}
          <button
            type="button"
            disabled={isLoading.value}
            onClick={() => {
              void load(cursor);
            }}
          >
            {t.value.table.more}
          </button>
        </div>
      );
    },
  };
}
