/** Values as one types: the most frequent ones of the last days that begin like the last term. */
import type { Schemas } from '@sockscope/client';
import { signal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';
import { get } from '../api/client.js';
import { termOf } from '../grammar/grammar.js';
import { suggestedFor } from '../grammar/suggested.js';
import { FIELDS } from '../state/filters.js';
import { isTied } from '../state/me.js';

export interface Suggestion {
  readonly field: string;
  readonly value: string;
  /** The suggestion as a term of the grammar. */
  readonly term: string;
  /** Sessions of the last days. */
  readonly sessions: number;
}

const LIMIT = '6';
/** Typing rests this long before the API is asked. */
const REST_MS = 120;

export interface Suggestions {
  readonly items: ReadonlySignal<readonly Suggestion[]>;
  /** Asks for values that fit a term; an empty one empties the list. */
  ask(term: string): void;
}

export function createSuggestions(): Suggestions {
  const items = signal<readonly Suggestion[]>([]);
  let timer: number | undefined;
  let controller = new AbortController();

  async function load(term: string): Promise<void> {
    const asked = suggestedFor(term, FIELDS);
    if (asked === null) {
      items.value = [];
      return;
    }
    const { signal: own } = controller;
    // A suggestion that fails is missed by nobody.
    const found = await Promise.all(
      asked.fields.map(async (field) => {
        const answer = await get<Schemas['Suggestions']>(
          `/suggest/${field}`,
          [
            ['prefix', asked.prefix],
            ['limit', LIMIT],
          ],
          own,
        ).catch(() => null);
        return (answer?.items ?? []).map((item) => ({
          ...item,
          field,
          term: termOf(field, item.value),
        }));
      }),
    );
    if (!own.aborted) items.value = found.flat();
  }

  return {
    items,
    ask(term) {
      window.clearTimeout(timer);
      controller.abort();
      controller = new AbortController();
      // A key that is tied to users has little to choose from.
      if (term === '' || isTied.value) items.value = [];
      else timer = window.setTimeout(() => void load(term), REST_MS);
    },
  };
}
