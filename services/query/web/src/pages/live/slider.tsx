import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { inputTime, momentsAt, showSpan, showTime } from '../../format/times.js';
import { change, params, zone } from '../../state/location.js';
import { lastOf } from '../../state/range.js';
import { language, t } from '../../text/text.js';
import { SPEEDS } from './player.js';
import type { Player, Speed } from './player.js';

/** The part of the past that the slider spans. */
const SPANS = ['1h', '6h', '24h', '7d'] as const;
const UNITS_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** Positions of the slider. */
const STEPS = 1_200;
/** Rest of the slider after which its moment is requested. */
const REST_MS = 150;
/** A slider whose end is younger than this ends in the present. */
const AGE_MS = 60_000;

function spanMs(): number {
  const span = lastOf(params.value.get('span') ?? '');
  return span?.kind === 'last' ? span.amount * UNITS_MS[span.unit] : UNITS_MS.h;
}

interface Props {
  /** The moment that is shown; null: the present. */
  readonly atMs: number | null;
  readonly player: Player;
}

/** Any moment of the past, and its playback. At its right end the slider is in the present. */
export function TimeSlider({ atMs, player }: Props) {
  const span = spanMs();
  // The window stands still while you move within it; a moment outside moves it.
  const endMs = useRef(Date.now());
  if (atMs === null) endMs.current = Date.now();
  else if (atMs > endMs.current || atMs < endMs.current - span)
    endMs.current = Math.min(Date.now(), atMs + span / 2);
  const startMs = endMs.current - span;
  const step = span / STEPS;
  const dragged = useSignal<number | null>(null);
  const shownMs = dragged.value ?? atMs ?? endMs.current;
  useEffect(() => {
    const to = dragged.value;
    if (to === null) return undefined;
    const timer = window.setTimeout(() => {
      player.pause();
      // The last step is the present, unless the slider spans a time that is over.
      const isPresent = to > endMs.current - step && Date.now() - endMs.current < step + AGE_MS;
      change({ at: isPresent ? null : new Date(to).toISOString() }, 'replace');
      dragged.value = null;
    }, REST_MS);
    return () => {
      window.clearTimeout(timer);
    };
  }, [dragged.value, span, player]);
  const pause = (): void => {
    const pausedMs = player.pause();
    if (pausedMs !== null) change({ at: new Date(pausedMs).toISOString() }, 'replace');
  };
  const play = (speed: Speed): void => {
    const fromMs = atMs ?? startMs;
    // The played moment has left the address's moment.
    player.play(fromMs, speed);
  };
  const isPresent = atMs === null && dragged.value === null && player.speed.value === null;
  return (
    <div class="slider" role="group" aria-label={t.value.live.slider}>
      <div class="scale">
        <span class="muted">{showTime(zone.value, startMs).slice(0, 16)}</span>
        <output class={isPresent ? 'now' : ''}>
          {isPresent ? `● ${t.value.live.now}` : showTime(zone.value, shownMs)}
        </output>
        <span class="muted">{showTime(zone.value, endMs.current).slice(0, 16)}</span>
      </div>
      <input
        type="range"
        aria-label={t.value.live.slider}
        aria-valuetext={isPresent ? t.value.live.now : showTime(zone.value, shownMs)}
        min={0}
        max={STEPS}
        value={Math.round((shownMs - startMs) / step)}
        onInput={(event) => {
          const at = Number(event.currentTarget.value);
          dragged.value = Math.round((startMs + at * step) / 1_000) * 1_000;
        }}
      />
      <div class="actions">
        <select
          aria-label={t.value.range.label}
          value={params.value.get('span') ?? SPANS[0]}
          onChange={(event) => {
            const { value } = event.currentTarget;
            change({ span: value === SPANS[0] ? null : value }, 'replace');
          }}
        >
          {SPANS.map((each) => (
            <option key={each} value={each}>
              {t.value.range.last(showSpan(each, language.value))}
            </option>
          ))}
        </select>
        <Jump atMs={shownMs} player={player} />
        {player.speed.value === null ? null : (
          <button type="button" onClick={pause}>
            ⏸ {t.value.live.pause}
          </button>
        )}
        {SPEEDS.map((speed) => (
          <button
            key={speed}
            type="button"
            aria-pressed={player.speed.value === speed}
            title={t.value.live.play(speed)}
            aria-label={t.value.live.play(speed)}
            onClick={() => {
              play(speed);
            }}
          >
            ▶ {speed}×
          </button>
        ))}
        {isPresent ? null : (
          <button
            type="button"
            class="primary"
            onClick={() => {
              player.pause();
              change({ at: null });
            }}
          >
            ● {t.value.live.toNow}
          </button>
        )}
      </div>
    </div>
  );
}

/** A moment by its date and time, in the zone of the page. */
function Jump({ atMs, player }: { readonly atMs: number; readonly player: Player }) {
  // The clock continues while somebody types a moment into the field.
  const typedFrom = useSignal<string | null>(null);
  return (
    <input
      type="datetime-local"
      step="1"
      aria-label={t.value.live.jump}
      value={typedFrom.value ?? inputTime(zone.value, atMs)}
      onFocus={(event) => {
        typedFrom.value = event.currentTarget.value;
      }}
      onBlur={() => {
        typedFrom.value = null;
      }}
      onChange={(event) => {
        typedFrom.value = event.currentTarget.value;
        const [ms] = momentsAt(zone.value, event.currentTarget.value);
        if (ms === undefined || ms > Date.now()) return;
        player.pause();
        change({ at: new Date(ms).toISOString() });
      }}
    />
  );
}
