import type { Schemas } from '@sockscope/client';
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { send } from '../api/client.js';
import { Problem } from '../api/problem.js';
import { useAnswer } from '../api/use-answer.js';
import type { Answer } from '../api/use-answer.js';
import { useRemoval } from '../api/use-removal.js';
import { inputTime, momentsAt, showTime } from '../format/times.js';
import { range, zone } from '../state/location.js';
import { rangeParams } from '../state/range.js';
import { isAdmin, isTied } from '../state/me.js';
import { t } from '../text/text.js';
import { notes as marks } from '../widgets/marks.js';
import { Failed, Panel } from '../widgets/panel.js';

type Annotations = Schemas['Annotations'];

/** People write notes rarely. */
const EVERY_MS = 60_000;

/** The notes on the range. The charts of the page show them. */
export function useNotes(): Answer<Annotations> {
  const answer = useAnswer<Annotations>(
    isTied.value ? null : '/annotations',
    [...Object.entries(rangeParams(range.value)), ['time_zone', zone.value]],
    EVERY_MS,
  );
  const items = answer.loaded.value?.items;
  useEffect(() => {
    marks.value = items ?? [];
    return () => {
      marks.value = [];
    };
  }, [items]);
  return answer;
}

/** Notes of people about moments of the range, such as a change or an outage. */
export function Notes() {
  const notes = useNotes();
  const { problem, remove } = useRemoval(notes.retry);
  return (
    <Panel title={t.value.notes.title} {...notes}>
      {({ items }) => (
        <>
          {problem === null ? null : <Failed problem={problem} />}
          {items.length === 0 ? <p class="muted">{t.value.notes.none}</p> : null}
          <ul class="plain-list">
            {items.map((note) => (
              <li key={note.annotation_id}>
                <time class="muted">{showTime(zone.value, Date.parse(note.starts_at))}</time>
                {note.ends_at === null ? null : (
                  <span class="muted"> – {showTime(zone.value, Date.parse(note.ends_at))}</span>
                )}{' '}
                <bdi>{note.text}</bdi>{' '}
                {isAdmin.value ? (
                  <button
                    type="button"
                    class="quiet"
                    aria-label={t.value.notes.remove(note.text)}
                    onClick={() => {
                      remove(`/annotations/${note.annotation_id}`);
                    }}
                  >
                    ×
                  </button>
                ) : null}
              </li>
            ))}
          </ul>
          {isAdmin.value ? <Add made={notes.retry} /> : null}
        </>
      )}
    </Panel>
  );
}

function Add({ made }: { readonly made: () => void }) {
  const text = useSignal('');
  const at = useSignal(inputTime(zone.value, Date.now()));
  const problem = useSignal<Problem | null>(null);
  const add = async (): Promise<void> => {
    const [ms] = momentsAt(zone.value, at.value);
    if (ms === undefined) return;
    try {
      await send('/annotations', { starts_at: new Date(ms).toISOString(), text: text.value });
      text.value = '';
      problem.value = null;
      made();
    } catch (error) {
      problem.value = Problem.of(error);
    }
  };
  return (
    <details>
      <summary>{t.value.notes.add}</summary>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void add();
        }}
      >
        <label>
          <span>{t.value.lookup.time}</span>
          <input
            type="datetime-local"
            step="1"
            required
            value={at.value}
            onInput={(event) => {
              at.value = event.currentTarget.value;
            }}
          />
        </label>
        <label>
          <span>{t.value.notes.text}</span>
          <input
            type="text"
            required
            maxLength={1_000}
            value={text.value}
            onInput={(event) => {
              text.value = event.currentTarget.value;
            }}
          />
        </label>
        <button type="submit" class="primary">
          {t.value.notes.save}
        </button>
      </form>
      {problem.value === null ? null : <Failed problem={problem.value} />}
    </details>
  );
}
