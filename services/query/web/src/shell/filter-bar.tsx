/** The filters of the page as chips, or as one text of the grammar: two views of the same address. */
import { useSignal } from '@preact/signals';
import { useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { showExact } from '../format/numbers.js';
import { parse, typedTerm, unparse } from '../grammar/grammar.js';
import type { Problem } from '../grammar/grammar.js';
import { clearFilters, FIELDS, filters, filterText, removeFilter } from '../state/filters.js';
import { change } from '../state/location.js';
import { language, t } from '../text/text.js';
import { Combobox } from './combobox.js';
import { createSuggestions } from './suggest.js';

/** Set from elsewhere to put the cursor into the text: the key `/` and the palette do. */
export const focusFilter = { now: (): void => undefined };

/** A filter as it is typed. */
const termFor = (name: string, value: string): string =>
  unparse(new Map([[name, [value]]]), FIELDS);

export function FilterBar() {
  const isText = useSignal(false);
  const draft = useSignal('');
  const problems = useSignal<readonly Problem[]>([]);
  const input = useRef<HTMLInputElement>(null);
  const suggestions = useMemo(createSuggestions, []);
  const edit = (): void => {
    draft.value = filterText.value === null ? '' : `${filterText.value} `;
    problems.value = [];
    suggestions.ask('');
    isText.value = true;
  };
  focusFilter.now = edit;
  // Before the next key: it belongs into the text.
  useLayoutEffect(() => {
    if (isText.value) input.current?.focus();
  }, [isText.value]);

  const type = (text: string): void => {
    draft.value = text;
    suggestions.ask(typedTerm(text).term);
  };
  const apply = (): void => {
    const read = parse(draft.value, FIELDS);
    problems.value = [
      ...read.problems,
      ...read.words.map((term) => ({ term, reason: 'unknown_field' as const })),
    ];
    if (problems.value.length > 0) return;
    const before = Object.fromEntries(filters.value.map(([name]) => [name, null]));
    const hasRange = ['from', 'to', 'period'].some((name) => read.params.has(name));
    change({
      ...before,
      ...(hasRange ? { from: null, to: null, period: null } : {}),
      ...Object.fromEntries(read.params),
    });
    isText.value = false;
  };

  return (
    <div class="filters" role="group" aria-label={t.value.filters.label}>
      {isText.value ? (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            apply();
          }}
        >
          <Combobox
            id="filter-suggestions"
            class="suggestions"
            input={input}
            label={t.value.filters.add}
            value={draft.value}
            isInvalid={problems.value.length > 0}
            choosesFirst={false}
            options={suggestions.items.value.map(({ term, sessions }) => ({
              text: term,
              hint: showExact(sessions, language.value),
              run: () => {
                type(`${typedTerm(draft.value).before}${term} `);
              },
            }))}
            onInput={type}
            onEscape={() => {
              isText.value = false;
            }}
          />
          <button type="submit">{t.value.range.apply}</button>
          <ul class="problems" role="alert">
            {problems.value.map((problem) => (
              <li key={problem.term}>{explain(problem)}</li>
            ))}
          </ul>
        </form>
      ) : (
        <>
          {filters.value.map(([name, value]) => (
            <span class="chip" key={`${name} ${value}`}>
              <bdi>{termFor(name, value)}</bdi>
              <button
                type="button"
                aria-label={t.value.filters.remove(termFor(name, value))}
                onClick={() => {
                  removeFilter(name, value);
                }}
              >
                ×
              </button>
            </span>
          ))}
          <button type="button" class="quiet" onClick={edit}>
            {filters.value.length === 0 ? t.value.filters.first : t.value.filters.edit}
          </button>
          {filters.value.length === 0 ? null : (
            <button type="button" class="quiet" onClick={clearFilters}>
              {t.value.filters.clear}
            </button>
          )}
        </>
      )}
    </div>
  );
}

function explain({ term, reason }: Problem): string {
  switch (reason) {
    case 'unknown_field':
      return t.value.filters.unknownField(term);
    case 'not_a_number':
      return t.value.filters.notANumber(term);
    case 'not_a_size':
      return t.value.filters.notASize(term);
    case 'empty':
      return t.value.filters.empty(term);
  }
}
