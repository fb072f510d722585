import { computed, effect, signal } from '@preact/signals';
import type { ComponentType } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { isSignedOut } from '../api/client.js';
import { showDuration } from '../format/numbers.js';
import { isOffline, isStale, lagMs, watchFreshness } from '../state/freshness.js';
import { go, hrefOf, path } from '../state/location.js';
import { isTied } from '../state/me.js';
import { t } from '../text/text.js';
import { FilterBar } from './filter-bar.js';
import { Keys } from './keys.js';
import { Link } from './link.js';
import { Palette } from './palette.js';
import { matchRoute, ROUTES } from './routes.js';
import type { PageProps, Route } from './routes.js';
import { Settings, Toolbar } from './toolbar.js';

interface Shown {
  readonly Page: ComponentType<PageProps> | null;
  readonly args: Readonly<Record<string, string>>;
  readonly route: Route | null;
}

const shown = signal<Shown | null>(null);

/** The page of the address, whether its module is here or not. */
const wanted = computed(() => {
  const found = matchRoute(path.value);
  // A forbidden page looks like a missing one.
  return found !== null && isTied.value && !found.route.forTied ? null : found;
});

/** Counts the pages that were requested, so that a module that comes late shows nothing. */
let asked = 0;

effect(() => {
  const found = wanted.value;
  const own = ++asked;
  if (found === null) {
    shown.value = { Page: null, args: {}, route: null };
    return;
  }
  const { route, args } = found;
  route
    .load()
    .then((Page) => {
      if (own === asked) shown.value = { Page, args, route };
    })
    .catch(reloadOnce);
});

const RELOADED = 'sockscope.reloaded';
const RELOAD_MS = 60_000;

/** A tab outlives a deployment: the files of its version are gone, and a reload brings the new ones. */
function reloadOnce(error: unknown): void {
  const last = Number(window.sessionStorage.getItem(RELOADED) ?? 0);
  // Not in a loop: a failure after it has another cause.
  if (Date.now() - last < RELOAD_MS) throw error;
  window.sessionStorage.setItem(RELOADED, String(Date.now()));
  window.location.reload();
}

effect(() => {
  if (!isSignedOut.value || path.peek() === '/sign-in') return;
  const back = `${window.location.pathname}${window.location.search}`;
  go(`/sign-in?${new URLSearchParams({ back }).toString()}`);
});

/** The name of the page, for its tab and for screen readers. */
function titleOf({ route, args }: Shown): string {
  if (route === null) return t.value.notFound;
  const name = t.value.titles[route.name as keyof typeof t.value.titles];
  const subject = args['value'] ?? args['session_id'];
  return subject === undefined ? name : `${subject} · ${name}`;
}

effect(() => {
  const title = shown.value === null ? '' : `${titleOf(shown.value)} · `;
  document.title = `${isStale.value ? '⚠ ' : ''}${title}${t.value.product}`;
  document.documentElement.toggleAttribute('data-stale', isStale.value);
});

/** The frame of every page: navigation, range, filters, and the page itself. */
export function Shell() {
  const main = useRef<HTMLElement>(null);
  const current = shown.value;
  const isFirst = useRef(true);
  useEffect(watchFreshness, []);
  useLayoutEffect(() => {
    // A new page is announced by its name: the focus moves there, as a reload would do.
    if (current === null) return;
    main.current?.focus({ preventScroll: true });
    if (!isFirst.current) window.scrollTo(0, 0);
    isFirst.current = false;
  }, [current?.route?.name, JSON.stringify(current?.args ?? {})]);
  // The frame does not wait for the page: nothing moves when that comes, and it is there sooner.
  const route = wanted.value?.route;
  const uses = route?.uses ?? [];
  const isSignIn = route?.name === 'sign-in';
  return (
    <>
      <a class="skip" href="#main">
        {t.value.skip}
      </a>
      <header class="top">
        <Link class="brand" href={hrefOf('/')}>
          {t.value.product}
        </Link>
        <nav aria-label={t.value.nav.label} tabIndex={-1}>
          {isSignIn
            ? null
            : ROUTES.map(({ name, nav, pattern, forTied }) =>
                nav === null || (isTied.value && !forTied) ? null : (
                  <Link
                    key={name}
                    href={hrefOf(pattern)}
                    aria-current={route?.name === name ? 'page' : undefined}
                  >
                    {t.value.nav[nav]}
                  </Link>
                ),
              )}
        </nav>
        <Settings />
      </header>
      <Banner />
      {uses.length === 0 ? null : (
        <div class="bars">
          {uses.includes('pause') ? <Toolbar uses={uses} /> : null}
          {uses.includes('filters') ? <FilterBar /> : null}
        </div>
      )}
      <Palette />
      <Keys />
      <main
        id="main"
        ref={main}
        tabIndex={-1}
        aria-label={current === null ? t.value.product : titleOf(current)}
      >
        {current === null ? (
          <p class="muted">{t.value.state.loading}</p>
        ) : current.Page === null ? (
          <h1>{t.value.notFound}</h1>
        ) : (
          <current.Page args={current.args} />
        )}
      </main>
    </>
  );
}

/** Old numbers never look current: a word, a sign, and the numbers lose their colour. */
function Banner() {
  return (
    <div class="banner" role="status">
      {isStale.value
        ? `⚠ ${isOffline.value ? t.value.state.offline : t.value.state.stale(showDuration(lagMs.value))}`
        : null}
    </div>
  );
}
