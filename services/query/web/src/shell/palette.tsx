/** The palette: go to a page, or filter, by typing. */
import { signal, useSignal } from '@preact/signals';
import { useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { showExact } from '../format/numbers.js';
import { parse, typedTerm } from '../grammar/grammar.js';
import { FIELDS } from '../state/filters.js';
import { change, go, hrefOf } from '../state/location.js';
import { isTied } from '../state/me.js';
import { language, t } from '../text/text.js';
import { Combobox } from './combobox.js';
import type { Option } from './combobox.js';
import { ROUTES } from './routes.js';
import { createSuggestions } from './suggest.js';
import type { Suggestion } from './suggest.js';

export const isPaletteOpen = signal(false);

const pagesFor = (words: readonly string[]): Option[] =>
  ROUTES.flatMap(({ nav, pattern, forTied }) => {
    if (nav === null || (isTied.value && !forTied)) return [];
    const text = t.value.nav[nav];
    const fits = words.every((word) => text.toLowerCase().includes(word.toLowerCase()));
    return fits
      ? [
          {
            text,
            hint: '',
            run: () => {
              go(hrefOf(pattern));
            },
          },
        ]
      : [];
  });

function entriesFor(text: string): Option[] {
  const { params, words, problems } = parse(text, FIELDS);
  const filter: Option[] =
    params.size > 0 && problems.length === 0
      ? [
          {
            text: t.value.palette.filter(text.trim()),
            hint: '',
            run: () => {
              change(Object.fromEntries(params));
            },
          },
        ]
      : [];
  return [...filter, ...(params.size > 0 && words.length === 0 ? [] : pagesFor(words))];
}

/** Values that begin like the last word: their own pages, or the term before them completed. */
function valuesFor(text: string, found: readonly Suggestion[], type: (text: string) => void) {
  const { before } = typedTerm(text);
  return found.map(({ field, value, term, sessions }): Option => ({
    text: term,
    hint: t.value.palette.sessions(showExact(sessions, language.value)),
    run: () => {
      if (before.trim() === '') go(hrefOf(`/entity/${field}/${encodeURIComponent(value)}`));
      else type(`${before}${term} `);
    },
  }));
}

export function Palette() {
  const dialog = useRef<HTMLDialogElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const suggestions = useMemo(createSuggestions, []);
  const text = useSignal('');
  const isOpen = isPaletteOpen.value;
  const type = (next: string): void => {
    text.value = next;
    suggestions.ask(typedTerm(next).term);
  };
  // Before the next key: it belongs into the text.
  useLayoutEffect(() => {
    if (!isOpen) return;
    type('');
    dialog.current?.showModal();
  }, [isOpen]);
  const options = isOpen
    ? [...entriesFor(text.value), ...valuesFor(text.value, suggestions.items.value, type)]
    : [];
  return (
    <dialog
      class="palette"
      ref={dialog}
      aria-label={t.value.keys.palette}
      onClose={() => {
        isPaletteOpen.value = false;
      }}
    >
      <Combobox
        id="palette-entries"
        class="entries"
        input={input}
        label={t.value.filters.add}
        value={text.value}
        choosesFirst
        options={options.map((option) => ({
          ...option,
          run: () => {
            const before = text.value;
            option.run();
            // A term that was completed may continue.
            if (text.value === before) dialog.current?.close();
          },
        }))}
        onInput={type}
      />
    </dialog>
  );
}
