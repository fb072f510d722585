import type { ComponentChildren } from 'preact';
import { Link } from '../shell/link.js';

interface Props {
  readonly label: string;
  /** The list with exactly the sessions that are counted; null if there is none. */
  readonly href: string | null;
  readonly children: ComponentChildren;
}

/** A number of the overview. It leads to the list that it counts. */
export function Tile({ label, href, children }: Props) {
  const inside = (
    <>
      <span class="label">{label}</span>
      {children}
    </>
  );
  return href === null ? (
    <div class="tile">{inside}</div>
  ) : (
    <Link class="tile" href={href}>
      {inside}
    </Link>
  );
}
