import type { ComponentChildren } from 'preact';
import { Link } from '../shell/link.js';

interface Props {
  readonly label: string;
  /** The list that has exactly as many sessions, or adds up to as many bytes. */
  readonly href: string;
  readonly children: ComponentChildren;
}

/** A number of the overview. It leads to the list that it counts. */
export function Tile({ label, href, children }: Props) {
  return (
    <Link class="tile" href={href}>
      <span class="label">{label}</span>
      {children}
    </Link>
  );
}
