/** A field with a list of suggestions: arrows choose, Enter takes. */
import type { RefObject } from 'preact';
import { useSignal } from '@preact/signals';
import { useLayoutEffect } from 'preact/hooks';

export interface Option {
  readonly text: string;
  /** Beside the text, muted. */
  readonly hint: string;
  run(): void;
}

interface Props {
  readonly id: string;
  readonly input: RefObject<HTMLInputElement | null>;
  readonly label: string;
  readonly value: string;
  readonly options: readonly Option[];
  /** The first option is chosen before anybody chooses. */
  readonly choosesFirst: boolean;
  readonly isInvalid?: boolean;
  readonly class: string;
  onInput(text: string): void;
  onEscape?: () => void;
}

export function Combobox(props: Props) {
  const { id, options, choosesFirst } = props;
  const none = choosesFirst ? 0 : -1;
  const at = useSignal(none);
  // Before the next key: it may choose.
  useLayoutEffect(() => {
    at.value = none;
  }, [props.value]);
  const chosen = Math.min(at.value, options.length - 1);
  return (
    <>
      <input
        ref={props.input}
        type="text"
        role="combobox"
        aria-autocomplete="list"
        aria-expanded={options.length > 0}
        aria-controls={id}
        aria-activedescendant={chosen < 0 ? undefined : `${id}-${chosen}`}
        aria-label={props.label}
        aria-invalid={props.isInvalid === true}
        placeholder={props.label}
        value={props.value}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => {
          props.onInput(event.currentTarget.value);
        }}
        onKeyDown={(event) => {
          const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (by !== undefined && options.length > 0) {
            event.preventDefault();
            const length = options.length + (choosesFirst ? 0 : 1);
            const from = chosen + (choosesFirst ? 0 : 1);
            at.value = ((from + by + length) % length) - (choosesFirst ? 0 : 1);
          } else if (event.key === 'Enter' && chosen >= 0) {
            event.preventDefault();
            options[chosen]?.run();
          } else if (event.key === 'Escape' && props.onEscape !== undefined) {
            event.stopPropagation();
            props.onEscape();
          }
        }}
      />
      <ul id={id} role="listbox" aria-label={props.label} class={props.class}>
        {options.map((option, index) => (
          <li
            key={option.text}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === chosen}
            // The field keeps the focus.
            onMouseDown={(event) => {
              event.preventDefault();
            }}
            onClick={() => {
              option.run();
            }}
          >
            <bdi>{option.text}</bdi>
            <span class="muted">{option.hint}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
