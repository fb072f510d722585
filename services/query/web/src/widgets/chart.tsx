/**
 * A chart of time series. The canvas is mute, so the chart has a name, a cursor for the keyboard that is
 * read aloud, and the same numbers as a table. Dragging over it, or Shift with the arrows and then Enter,
 * selects a range.
 */
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Shown } from '../format/numbers.js';
import { offsetMinutes, showTime } from '../format/times.js';
import { zone } from '../state/location.js';
import { colour, theme } from '../state/theme.js';
import { t } from '../text/text.js';
import { drawMarks, endOf, notes, notesAt } from './marks.js';
import { linesOf, stacked, timeStep, timeTicks } from './series.js';
import type { Series } from './series.js';

interface Props {
  readonly name: string;
  /** The start of each bucket, in milliseconds since 1970. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly isStacked?: boolean;
  /** Begins as its table. */
  readonly isTable?: boolean;
  /** The last bucket is not over. */
  readonly isUnfinished?: boolean;
  readonly show: (value: number) => Shown;
  readonly onSelect?: (fromMs: number, toMs: number) => void;
  /** Height in pixels. */
  readonly height?: number;
}

const HEIGHT = 220;
const TICKS = 6;
/** Pixels of a label with seconds. */
const TICK_WIDTH = 56;
const DASH = [4, 4];
/** Pixels of a tile of the ground. */
const HATCH = 6;
const READOUT_ROWS = 10;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const AXIS_WIDTH = 80;
const AXIS_HEIGHT = 24;
const TICK = 4;
/** A shorter drag is a click. */
const DRAG_MIN = 4;
const KEYS: Readonly<Record<string, number>> = {
  ArrowLeft: -1,
  ArrowRight: 1,
  PageUp: -10,
  PageDown: 10,
};

const textOf = ({ digits, unit }: Shown): string => `${digits} ${unit}`.trim();

export function Chart(props: Props) {
  const {
    name,
    times,
    series,
    isStacked = false,
    isUnfinished = false,
    show,
    onSelect,
    height = HEIGHT,
  } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const at = useSignal<number | null>(null);
  /** The other end of a selection by keyboard; null without one. */
  const anchor = useRef<number | null>(null);
  const asTable = useSignal(props.isTable === true);
  const zoneName = zone.value;
  const themeName = theme.value;
  const drawn = useMemo(
    // The last of a stack lies on top of the others, so it is drawn first.
    () => linesOf(isStacked ? stacked(series).toReversed() : series, isUnfinished),
    [series, isStacked, isUnfinished],
  );

  const structure = JSON.stringify(
    drawn.map((each) => [
      each.label,
      each.colour,
      each.isDashed,
      each.isBefore,
      times.length === 1,
    ]),
  );

  // Newer numbers are drawn into the same plot, so that its cursor does not move.
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const line = { stroke: colour('line'), width: 1 };
    const axis = { stroke: colour('muted'), grid: line, ticks: { ...line, size: TICK }, gap: TICK };
    const select = (self: uPlot): void => {
      const { left, width } = self.select;
      if (width < DRAG_MIN) return;
      onSelect?.(
        Math.round(self.posToVal(left, 'x')),
        Math.round(self.posToVal(left + width, 'x')),
      );
    };
    const made = new uPlot(
      {
        width: element.clientWidth,
        height,
        ms: 1,
        legend: { show: false },
        cursor: {
          drag: { x: onSelect !== undefined, y: false, setScale: false },
          sync: { key: 'page' },
        },
        axes: [
          {
            ...axis,
            size: AXIS_HEIGHT,
            splits: (self, _axis, min, max) =>
              timeTicks(min, max, timeStep(min, max, ticksOf(self.width)), (ms) =>
                offsetMinutes(zoneName, ms),
              ),
            values: (_plot, splits) => labels(zoneName, splits),
          },
          {
            ...axis,
            size: AXIS_WIDTH,
            values: (_plot, splits) => splits.map((value) => textOf(show(Math.abs(value)))),
          },
        ],
        series: [
          {},
          ...drawn.map((each) => ({
            label: each.label,
            stroke: colour(each.colour),
            width: 1.5,
            points: { show: times.length === 1 },
            ...(each.isDashed ? { dash: DASH } : {}),
            ...(isStacked && each.isBefore !== true ? { fill: fillOf(each.colour) as string } : {}),
          })),
        ],
        hooks: {
          setCursor: [
            (self) => {
              at.value = self.cursor.idx ?? null;
            },
          ],
          setSelect: [select],
          draw: [
            (self) => {
              drawMarks(self, notes.peek());
            },
          ],
        },
      },
      [[...times], ...drawn.map(signed)],
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => {
      made.setSize({ width: element.clientWidth, height });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [structure, zoneName, themeName, height, asTable.value, show, onSelect, isStacked, at]);
  useEffect(() => {
    plot.current?.setData([[...times], ...drawn.map(signed)]);
  }, [drawn, times]);

  const noted = notes.value;
  useEffect(() => {
    if (plot.current !== null) drawMarks(plot.current, noted);
  }, [noted]);

  // Keyboard and pointer move the same cursor.
  const move = (by: number, isSelecting: boolean): void => {
    const from = at.value ?? (by > 0 ? -1 : times.length);
    const next = Math.min(times.length - 1, Math.max(0, from + by));
    anchor.current = isSelecting && onSelect !== undefined ? (anchor.current ?? at.value) : null;
    const self = plot.current;
    const [start, end] = [next, anchor.current ?? next]
      .toSorted((a, b) => a - b)
      .map((bucket) => self?.valToPos(times[bucket] ?? 0, 'x') ?? 0) as [number, number];
    self?.setCursor({ left: self.valToPos(times[next] ?? 0, 'x'), top: 0 });
    self?.setSelect(
      { left: start, width: end - start, top: 0, height: self.over.clientHeight },
      false,
    );
    at.value = next;
  };
  const choose = (): void => {
    if (at.value === null) return;
    const [first = 0, last = 0] = [at.value, anchor.current ?? at.value].toSorted((a, b) => a - b);
    anchor.current = null;
    onSelect?.(times[first] ?? 0, endOf(times, last));
  };

  return (
    <figure class="chart">
      <figcaption>
        {series.map((each) =>
          each.legend === '' ? null : (
            <span key={each.label}>
              <i
                class={`swatch ${each.colour}${each.isBefore === true ? ' dashed' : ''}`}
                aria-hidden="true"
              />{' '}
              <bdi>{each.legend ?? each.label}</bdi>
            </span>
          ),
        )}
        <button
          type="button"
          class="quiet"
          onClick={() => {
            asTable.value = !asTable.value;
          }}
        >
          {asTable.value ? t.value.table.hide : t.value.table.show}
        </button>
      </figcaption>
      {asTable.value ? (
        <SeriesTable {...props} />
      ) : (
        <div
          ref={box}
          role="img"
          aria-label={name}
          tabIndex={0}
          onKeyDown={(event) => {
            const by = KEYS[event.key];
            if (by === undefined && event.key !== 'Enter') return;
            event.preventDefault();
            event.stopPropagation();
            if (by === undefined) choose();
            else move(by, event.shiftKey);
          }}
        />
      )}
      <Readout at={at.value} times={times} series={series} show={show} />
    </figure>
  );
}

/**
 * A light ground in the colour of its line; a series without a colour is hatched. It covers
 * lower layers, so that the layers of a stack do not mix their colours.
 */
function fillOf(name: string): string | CanvasPattern {
  const stroke = colour(name);
  const tile = document.createElement('canvas');
  tile.width = HATCH;
  tile.height = HATCH;
  const pen = tile.getContext('2d');
  if (pen === null) return 'transparent';
  pen.fillStyle = colour('ground');
  pen.fillRect(0, 0, HATCH, HATCH);
  pen.globalAlpha = 0.35;
  if (name === 'other') {
    pen.strokeStyle = stroke;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(0, HATCH);
    pen.lineTo(HATCH, 0);
    pen.stroke();
  } else {
    pen.fillStyle = stroke;
    pen.fillRect(0, 0, HATCH, HATCH);
  }
  return pen.createPattern(tile, 'repeat') ?? 'transparent';
}

function ticksOf(width: number): number {
  return Math.max(1, Math.min(TICKS, Math.floor((width - AXIS_WIDTH) / TICK_WIDTH)));
}

function signed({ values, isMirrored = false }: Series): (number | null)[] {
  return values.map((value) => (value === null || !isMirrored ? value : -value));
}

function labels(zoneName: string, splits: readonly number[]): string[] {
  const first = splits[0] ?? 0;
  const last = splits.at(-1) ?? first;
  const step = (last - first) / Math.max(1, splits.length - 1);
  return splits.map((ms) => {
    const text = showTime(zoneName, ms);
    if (step >= DAY_MS || text.endsWith('00:00:00')) return text.slice(5, 10);
    return text.slice(11, step < MINUTE_MS ? 19 : 16);
  });
}

/** The values under the cursor, also for screen readers. */
function Readout(props: Pick<Props, 'times' | 'series' | 'show'> & { readonly at: number | null }) {
  const { at, times, series, show } = props;
  const time = at === null ? undefined : times[at];
  if (at === null || time === undefined) return <p class="readout" aria-live="polite" />;
  const rows = series
    .map((each) => ({ label: each.label, value: each.values[at] ?? null }))
    .toSorted((a, b) => (b.value ?? -1) - (a.value ?? -1))
    .slice(0, READOUT_ROWS);
  return (
    <p class="readout" aria-live="polite">
      <time>{showTime(zone.value, time)}</time>
      {rows.map(({ label, value }) => (
        <span key={label}>
          {label} <b>{value === null ? '–' : textOf(show(value))}</b>
        </span>
      ))}
      {notesAt(notes.value, times, at).map(({ starts_at, text }) => (
        <span key={starts_at + text}>
          ▏<bdi>{text}</bdi>
        </span>
      ))}
    </p>
  );
}

function SeriesTable({ name, times, series, show }: Props) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={name}>
      <table>
        <caption class="visually-hidden">{name}</caption>
        <thead>
          <tr>
            <th scope="col">{t.value.range.from}</th>
            {series.map((each) => (
              <th key={each.label} scope="col" class="number">
                {each.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {times.map((time, row) => (
            <tr key={time}>
              <th scope="row">{showTime(zone.value, time)}</th>
              {series.map((each) => {
                const value = each.values[row] ?? null;
                return (
                  <td key={each.label} class="number" title={String(value ?? '')}>
                    {value === null ? '–' : textOf(show(value))}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
