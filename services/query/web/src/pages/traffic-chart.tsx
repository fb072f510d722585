import type { Stats, Traffic } from '@sockscope/schemas/api';
import { useMemo, useRef } from 'preact/hooks';
import type { Params } from '../api/client.js';
import { useAnswer } from '../api/use-answer.js';
import { showRate } from '../format/numbers.js';
import { filterText, question } from '../state/filters.js';
import { changeRange, isComparing } from '../state/location.js';
import { between } from '../state/range.js';
import { language, t } from '../text/text.js';
import { Chart } from '../widgets/chart.js';
import { coloursOf } from '../widgets/colours.js';
import type { Series } from '../widgets/series.js';

const SECOND_MS = 1_000;
/** A range up to now is never complete. */
const NOW_MS = 60_000;

export function selectRange(fromMs: number, toMs: number): void {
  changeRange(between(fromMs, toMs));
}

/** The starts of the buckets, in milliseconds since 1970. */
export function useTimes(traffic: Traffic): number[] {
  return useMemo(() => traffic.buckets.map((each) => Date.parse(each)), [traffic]);
}

/** Whether the last bucket still fills. */
export function isUnfinished({ range, as_of }: Traffic): boolean {
  return Date.parse(range.to) >= Date.parse(as_of) - NOW_MS;
}

/** Bytes a second of each bucket; the last one may be shorter than the others. */
export function ratesOf(traffic: Traffic, values: readonly number[]): number[] {
  const starts = traffic.buckets.map((each) => Date.parse(each));
  const end = Date.parse(traffic.bytes_range.to);
  return values.map((value, at) => {
    const length = (starts[at + 1] ?? end) - (starts[at] ?? end);
    return length <= 0 ? 0 : value / (length / SECOND_MS);
  });
}

/**
 * The same question for the period before, while the page compares; null otherwise. The server gives
 * the previous range, which ends after an equal part of its period.
 */
export function usePrevious(
  previous: Stats['previous_range'] | null,
  interval: string | undefined,
): Traffic | null {
  const isAsked = isComparing.value && previous !== null && interval !== undefined;
  const params: Params = isAsked
    ? [
        ...question.value.filter(([name]) => !['from', 'to', 'period'].includes(name)),
        ['from', previous.from],
        ['to', previous.to],
        ['interval', interval],
      ]
    : [];
  const { loaded } = useAnswer<Traffic>(isAsked ? '/traffic' : null, params, 0);
  return isAsked ? loaded.value : null;
}

/** The colours of a split, which stay as long as the filter does. */
export function useColours(split: string | null, keys: readonly string[]): string[] {
  const memory = useRef(new Map<string, Map<string, number>>());
  const name = `${split ?? ''} ${filterText.value ?? ''}`;
  const own = memory.current.get(name) ?? new Map<string, number>();
  memory.current = new Map([[name, own]]);
  return coloursOf(keys, own).map((colour) => `category-${colour}`);
}

const show = (value: number) => showRate(value, language.value);
const DIRECTIONS = ['bytes_sent', 'bytes_received'] as const;
const ARROWS = { bytes_sent: '↑', bytes_received: '↓' } as const;
const COLOURS = { bytes_sent: 'sent', bytes_received: 'received' } as const;

/**
 * Traffic mirrored around zero: sent above, received below. Split, colours mean the categories, and the
 * two halves the directions.
 */
export function TrafficChart(props: {
  readonly traffic: Traffic;
  readonly previous?: Traffic | null;
}) {
  const { traffic, previous = null } = props;
  const times = useTimes(traffic);
  const isSplit = traffic.split !== null;
  const named = traffic.series.filter(({ other }) => isSplit && !other);
  const colours = useColours(
    traffic.split,
    named.map(({ key }) => String(key ?? '')),
  );
  const series = useMemo(
    (): Series[] => [
      ...traffic.series.flatMap((each) => {
        const at = named.indexOf(each);
        const name = !isSplit ? null : each.other ? t.value.other : String(each.key ?? '–');
        return DIRECTIONS.map((direction) => ({
          label: `${ARROWS[direction]} ${name ?? t.value.measure[direction]}`,
          // Split, a colour means the category, and above and below zero the direction.
          ...(name === null ? {} : { legend: direction === 'bytes_sent' ? `${name} ↑↓` : '' }),
          colour: !isSplit ? COLOURS[direction] : (colours[at] ?? 'other'),
          values: ratesOf(traffic, each[direction]),
          isMirrored: direction === 'bytes_received',
        }));
      }),
      ...(previous === null || isSplit
        ? []
        : DIRECTIONS.map((direction) => ({
            label: `${ARROWS[direction]} ${t.value.before}`,
            colour: COLOURS[direction],
            values: times.map(
              (_, at) => ratesOf(previous, previous.series[0]?.[direction] ?? [])[at] ?? null,
            ),
            isMirrored: direction === 'bytes_received',
            isBefore: true,
          }))),
    ],
    [traffic, previous, t.value, colours.join()],
  );
  return (
    <Chart
      name={t.value.overview.traffic}
      times={times}
      series={series}
      show={show}
      isStacked={isSplit}
      isUnfinished={isUnfinished(traffic)}
      onSelect={selectRange}
    />
  );
}
