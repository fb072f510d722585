/** Keys of the whole page, and the list of them. A key that is typed into a field is text. */
import { signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { clearFilters } from '../state/filters.js';
import { change, changeRange, isComparing, range } from '../state/location.js';
import { shift } from '../state/range.js';
import { t } from '../text/text.js';
import { focusFilter } from './filter-bar.js';
import { isPaletteOpen } from './palette.js';

const isListOpen = signal(false);

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable || /^(?:INPUT|SELECT|TEXTAREA)$/.test(target.tagName));

function onKey(event: KeyboardEvent): void {
  if (event.key === 'k' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    isPaletteOpen.value = true;
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector('dialog[open]') !== null) return;
  switch (event.key) {
    case '/':
      event.preventDefault();
      focusFilter.now();
      return;
    case '?':
      isListOpen.value = true;
      return;
    case 'ArrowLeft':
    case 'ArrowRight':
      changeRange(shift(range.value, event.key === 'ArrowLeft' ? -1 : 1, Date.now()));
      return;
    case 'x':
    case 'X':
      change({ compare: isComparing.value ? null : '1' });
      return;
    case 'Escape':
      clearFilters();
      return;
    default:
  }
}

export function Keys() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    window.addEventListener('keydown', onKey);
    return () => {
      window.removeEventListener('keydown', onKey);
    };
  }, []);
  useLayoutEffect(() => {
    if (isListOpen.value) dialog.current?.showModal();
  }, [isListOpen.value]);
  const rows: readonly (readonly [string, string])[] = [
    ['Ctrl K', t.value.keys.palette],
    ['/', t.value.filters.edit],
    ['← →', t.value.keys.shift],
    ['X', t.value.keys.compare],
    ['Esc', t.value.keys.clear],
    ['?', t.value.keys.help],
  ];
  return (
    <dialog
      ref={dialog}
      aria-label={t.value.keys.title}
      onClose={() => {
        isListOpen.value = false;
      }}
    >
      <h2>{t.value.keys.title}</h2>
      <dl class="keys">
        {rows.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <form method="dialog">
        <button type="submit">{t.value.keys.close}</button>
      </form>
    </dialog>
  );
}
