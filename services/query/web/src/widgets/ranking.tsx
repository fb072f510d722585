import type { Shown } from '../format/numbers.js';
import { Link } from '../shell/link.js';
import { t } from '../text/text.js';
import { Figure } from './number.js';

export interface Ranked {
  readonly key: string;
  readonly value: number;
  readonly href: string;
}

interface Props {
  readonly name: string;
  readonly heading: string;
  readonly measure: string;
  readonly rows: readonly Ranked[];
  /** The sum of the values without a row of their own; 0 hides it. */
  readonly other?: number;
  readonly show: (value: number, locale: string) => Shown;
}

/** A top list with bars in its cells. */
export function Ranking({ name, heading, measure, rows, other = 0, show }: Props) {
  const max = Math.max(1, ...rows.map(({ value }) => value));
  return (
    <table class="ranking">
      <caption class="visually-hidden">{name}</caption>
      <thead>
        <tr>
          <th scope="col">{heading}</th>
          <th scope="col" class="number">
            {measure}
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ key, value, href }) => (
          <tr key={key}>
            <th scope="row">
              <svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">
                <rect width={(value / max) * 100} height="1" />
              </svg>
              <Link href={href} title={key}>
                <bdi>{key === '' ? '–' : key}</bdi>
              </Link>
            </th>
            <td class="number">
              <Figure value={value} show={show} />
            </td>
          </tr>
        ))}
        {other > 0 ? (
          <tr class="muted">
            <th scope="row">{t.value.other}</th>
            <td class="number">
              <Figure value={other} show={show} />
            </td>
          </tr>
        ) : null}
      </tbody>
    </table>
  );
}
