import type { ComponentChildren } from 'preact';
import { go } from '../state/location.js';

interface Props {
  readonly href: string;
  readonly class?: string | undefined;
  readonly title?: string | undefined;
  readonly 'aria-current'?: 'page' | undefined;
  readonly 'aria-label'?: string | undefined;
  readonly children: ComponentChildren;
}

/** A link within the dashboard. With a modifier key the browser behaves as usual. */
export function Link({ href, children, ...rest }: Props) {
  return (
    <a
      {...rest}
      href={href}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        go(href);
      }}
    >
      {children}
    </a>
  );
}
