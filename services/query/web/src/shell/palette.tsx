/** The palette: go to a page, or filter, by typing. */
import { signal, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { parse } from '../grammar/grammar.js';
import { FIELDS } from '../state/filters.js';
import { change, go, hrefOf } from '../state/location.js';
import { t } from '../text/text.js';
import { ROUTES } from './routes.js';

export const isPaletteOpen = signal(false);

interface Entry {
  readonly text: string;
  run(): void;
}

const pagesFor = (words: readonly string[]): Entry[] =>
  ROUTES.flatMap(({ nav, pattern }) => {
    if (nav === null) return [];
    const text = t.value.nav[nav];
    const fits = words.every((word) => text.toLowerCase().includes(word.toLowerCase()));
    return fits
      ? [
          {
            text,
            run: () => {
              go(hrefOf(pattern));
            },
          },
        ]
      : [];
  });

function entriesFor(text: string): Entry[] {
  const { params, words, problems } = parse(text, FIELDS);
  const filter: Entry[] =
    params.size > 0 && problems.length === 0
      ? [
          {
            text: t.value.palette.filter(text.trim()),
            run: () => {
              change(Object.fromEntries(params));
            },
          },
        ]
      : [];
  return [...filter, ...(params.size > 0 && words.length === 0 ? [] : pagesFor(words))];
}

export function Palette() {
  const dialog = useRef<HTMLDialogElement>(null);
  const text = useSignal('');
  const at = useSignal(0);
  const isOpen = isPaletteOpen.value;
  useEffect(() => {
    if (!isOpen) return;
    text.value = '';
    at.value = 0;
    dialog.current?.showModal();
  }, [isOpen]);
  const entries = isOpen ? entriesFor(text.value) : [];
  const run = (entry: Entry | undefined): void => {
    if (entry === undefined) return;
    dialog.current?.close();
    entry.run();
  };
  return (
    <dialog
      class="palette"
      ref={dialog}
      aria-label={t.value.keys.palette}
      onClose={() => {
        isPaletteOpen.value = false;
      }}
    >
      <input
        type="text"
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-entries"
        aria-activedescendant={entries.length === 0 ? undefined : `palette-${at.value}`}
        aria-label={t.value.filters.add}
        placeholder={t.value.filters.add}
        value={text.value}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => {
          text.value = event.currentTarget.value;
          at.value = 0;
        }}
        onKeyDown={(event) => {
          const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (by !== undefined) {
            event.preventDefault();
            at.value = (at.value + by + entries.length) % Math.max(1, entries.length);
          } else if (event.key === 'Enter') {
            event.preventDefault();
            run(entries[at.value]);
          }
        }}
      />
      <ul id="palette-entries" role="listbox" aria-label={t.value.keys.palette}>
        {entries.map((entry, index) => (
          <li
            key={entry.text}
            id={`palette-${index}`}
            role="option"
            aria-selected={index === at.value}
            onClick={() => {
              run(entry);
            }}
          >
            <bdi>{entry.text}</bdi>
          </li>
        ))}
      </ul>
    </dialog>
  );
}
