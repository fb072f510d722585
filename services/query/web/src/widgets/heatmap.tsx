/** Hour by weekday in one hue; zero is the ground. A table, so that it can be read without the colours. */
import { partsIn } from '../format/times.js';
import type { Shown } from '../format/numbers.js';
import { language, t } from '../text/text.js';

interface Props {
  readonly name: string;
  readonly times: readonly number[];
  readonly values: readonly number[];
  readonly zone: string;
  readonly show: (value: number) => Shown;
}

const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const DAYS = [1, 2, 3, 4, 5, 6, 0] as const;
/** A narrow page has labels for hours this far apart. */
const LABEL_HOURS = 6;
/** Steps of the hue, besides zero. */
const STEPS = 6;

/** The sum per weekday (0 is Sunday) and hour of the zone, in a field of 7 × 24. */
export function byHour(
  times: readonly number[],
  values: readonly number[],
  zone: string,
): number[] {
  const sums = Array.from({ length: 7 * 24 }, () => 0);
  times.forEach((time, at) => {
    const { year, month, day, hour } = partsIn(zone, time);
    const place = new Date(Date.UTC(year, month - 1, day)).getUTCDay() * 24 + hour;
    sums[place] = (sums[place] ?? 0) + (values[at] ?? 0);
  });
  return sums;
}

export function Heatmap({ name, times, values, zone, show }: Props) {
  const sums = byHour(times, values, zone);
  const max = Math.max(...sums);
  // 4 January 1970 was a Sunday.
  const dayName = (day: number): string =>
    new Intl.DateTimeFormat(language.value, { weekday: 'short', timeZone: 'UTC' }).format(
      Date.UTC(1970, 0, 4 + day),
    );
  return (
    <div class="wide" tabIndex={0} role="group" aria-label={name}>
      <table class="heatmap">
        <caption class="visually-hidden">{name}</caption>
        <thead>
          <tr>
            <th scope="col">
              <span class="visually-hidden">{t.value.entity.day}</span>
            </th>
            {HOURS.map((hour) => (
              <th
                key={hour}
                scope="col"
                class={hour % LABEL_HOURS === 0 ? 'number' : 'number minor'}
              >
                {hour}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {DAYS.map((day) => (
            <tr key={day}>
              <th scope="row">{dayName(day)}</th>
              {HOURS.map((hour) => {
                const value = sums[day * 24 + hour] ?? 0;
                const { digits, unit } = show(value);
                const text = `${dayName(day)} ${hour}:00: ${digits} ${unit}`;
                const step = max === 0 ? 0 : Math.ceil((value / max) * STEPS);
                return (
                  <td key={hour} class={`heat-${step}`} title={text}>
                    <span class="visually-hidden">{text}</span>
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
