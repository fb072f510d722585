import type { Traffic } from '@sockscope/schemas/api';
import { useMemo } from 'preact/hooks';
import { showRate } from '../format/numbers.js';
import { changeRange } from '../state/location.js';
import { between } from '../state/range.js';
import { language, t } from '../text/text.js';
import { Chart } from '../widgets/chart.js';

const SECOND_MS = 1_000;

export function selectRange(fromMs: number, toMs: number): void {
  changeRange(between(fromMs, toMs));
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

const show = (value: number) => showRate(value, language.value);

/** Traffic of all that was asked for, mirrored around zero: sent above, received below. */
export function TrafficChart({ traffic }: { readonly traffic: Traffic }) {
  const times = useMemo(() => traffic.buckets.map((each) => Date.parse(each)), [traffic]);
  const series = useMemo(() => {
    const total = traffic.series[0];
    return [
      {
        label: `↑ ${t.value.measure.bytes_sent}`,
        colour: 'sent',
        values: ratesOf(traffic, total?.bytes_sent ?? []),
      },
      {
        label: `↓ ${t.value.measure.bytes_received}`,
        colour: 'received',
        values: ratesOf(traffic, total?.bytes_received ?? []),
        isMirrored: true,
      },
    ];
  }, [traffic, t.value]);
  return (
    <Chart
      name={t.value.overview.traffic}
      times={times}
      series={series}
      show={show}
      onSelect={selectRange}
    />
  );
}
