import { language } from '../text/text.js';

/** A number for people: at most three significant digits and its unit apart, so that the unit can be muted. */
export interface Shown {
  readonly digits: string;
  readonly unit: string;
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'] as const;
const BIT_RATE_UNITS = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'] as const;
const COUNT_UNITS = ['', 'k', 'M', 'G', 'T'] as const;
const STEP = 1_000;
const SIGNIFICANT_DIGITS = 3;

function scaled(value: number, units: readonly string[], locale: string): Shown {
  let left = value;
  let step = 0;
  // 999.5 would be shown as 1000: it belongs to the next unit.
  while (Math.abs(left) >= STEP - 0.5 && step < units.length - 1) {
    left /= STEP;
    step += 1;
  }
  const digits = new Intl.NumberFormat(locale, {
    maximumSignificantDigits: SIGNIFICANT_DIGITS,
    useGrouping: false,
  }).format(step === 0 ? Math.round(left) : left);
  return { digits, unit: units[step] ?? '' };
}

/** Bytes in decimal units, such as 1.5 GB. */
export function showBytes(bytes: number, locale: string): Shown {
  return scaled(bytes, BYTE_UNITS, locale);
}

/** Bytes a second as bits a second, such as 12.3 Mbit/s. */
export function showRate(bytesPerSecond: number, locale: string): Shown {
  return scaled(bytesPerSecond * 8, BIT_RATE_UNITS, locale);
}

/** A count, such as 12.3 k. Below a thousand it is exact. */
export function showCount(count: number, locale: string): Shown {
  return scaled(count, COUNT_UNITS, locale);
}

/** The exact integer with its groups, for the tooltip. */
export function showExact(value: number, locale: string): string {
  return new Intl.NumberFormat(locale).format(value);
}

/** The change from one value to another: a ratio, `new` from zero, or null if both are zero. */
export function changeOf(before: number, now: number): number | 'new' | null {
  if (before === 0) return now === 0 ? null : 'new';
  return (now - before) / before;
}

/** A change such as +12 % or −3.4 %. */
export function showChange(ratio: number, locale: string): string {
  const text = new Intl.NumberFormat(locale, {
    style: 'percent',
    maximumSignificantDigits: 2,
    signDisplay: 'exceptZero',
  }).format(ratio);
  return text.replace('-', '−');
}

/** A duration such as 1 h 5 min or 350 ms, of at most two units. */
export function showDuration(ms: number, locale: string = language.value): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 60) {
    const maximumFractionDigits = ms < 10_000 ? 1 : 0;
    return `${new Intl.NumberFormat(locale, { maximumFractionDigits }).format(ms / 1_000)} s`;
  }
  const parts: readonly [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}
