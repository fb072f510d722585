import type { ComponentChildren } from 'preact';
import { Link } from '../shell/link.js';

interface Props {
  readonly label: string;
  /** The list that has exactly as many sessions, or adds up to as many bytes; null if there is none. */
  readonly href: string | null;
  /** Explains where such a list is, for a tile that leads to none. */
  readonly why?: string;
  readonly children: ComponentChildren;
}

/** A number of the overview. It leads to the list that it counts. */
export function Tile({ label, href, why, children }: Props) {
  const content = (
    <>
      <span class="label">{label}</span>
      {children}
    </>
  );
  return href === null ? (
    <div class="tile" title={why}>
      {content}
    </div>
  ) : (
    <Link class="tile" href={href}>
      {content}
    </Link>
  );
}
