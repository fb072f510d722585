import { effect, signal } from '@preact/signals';
import type { ComponentType } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { hrefOf, path } from '../state/location.js';
import { t } from '../text/text.js';
import { FilterBar } from './filter-bar.js';
import { Keys } from './keys.js';
import { Link } from './link.js';
import { Palette } from './palette.js';
import { matchRoute, ROUTES } from './routes.js';
import type { PageProps } from './routes.js';
import { Toolbar } from './toolbar.js';

interface Shown {
  readonly Page: ComponentType<PageProps> | null;
  readonly args: Readonly<Record<string, string>>;
  readonly name: string;
}

const shown = signal<Shown | null>(null);

effect(() => {
  const found = matchRoute(path.value);
  if (found === null) {
    shown.value = { Page: null, args: {}, name: '' };
    return;
  }
  const { route, args } = found;
  void route.load().then((Page) => {
    if (path.peek() !== window.location.pathname) return;
    shown.value = { Page, args, name: route.name };
  });
});

/** The frame of every page: navigation, range, filters, and the page itself. */
export function Shell() {
  const main = useRef<HTMLElement>(null);
  const current = shown.value;
  useEffect(() => {
    // A new page is announced by its heading: the focus moves there, as a reload would do.
    main.current?.focus({ preventScroll: true });
  }, [current?.name, JSON.stringify(current?.args ?? {})]);
  return (
    <>
      <a class="skip" href="#main">
        {t.value.skip}
      </a>
      <header class="top">
        <Link class="brand" href={hrefOf('/')}>
          {t.value.product}
        </Link>
        <nav aria-label={t.value.nav.label}>
          {ROUTES.map(({ name, nav, pattern }) =>
            nav === null ? null : (
              <Link
                key={name}
                href={hrefOf(pattern)}
                aria-current={current?.name === name ? 'page' : undefined}
              >
                {t.value.nav[nav]}
              </Link>
            ),
          )}
        </nav>
      </header>
      <Toolbar />
      <FilterBar />
      <Palette />
      <Keys />
      <main id="main" ref={main} tabIndex={-1}>
        {current === null ? (
          <p class="muted">{t.value.state.loading}</p>
        ) : current.Page === null ? (
          <p>{t.value.notFound}</p>
        ) : (
          <current.Page args={current.args} />
        )}
      </main>
    </>
  );
}
