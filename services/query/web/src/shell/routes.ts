/** Every page of the dashboard: its path, and the module that draws it. */
import type { ComponentType } from 'preact';
import type { Texts } from '../text/en.js';

export interface Route {
  readonly name: string;
  /** Segments; one that begins with `:` is a parameter. */
  readonly pattern: string;
  /** Text of the page in the navigation; null: reached by links only. */
  readonly nav: keyof Omit<Texts['nav'], 'label'> | null;
  /** A key that is tied to users has the page too. */
  readonly forTied: boolean;
  /** The parts of the frame that affect the page. */
  readonly uses: readonly ('range' | 'compare' | 'pause' | 'filters')[];
  load(): Promise<ComponentType<PageProps>>;
}

export interface PageProps {
  readonly args: Readonly<Record<string, string>>;
}

export const ROUTES: readonly Route[] = [
  {
    name: 'overview',
    pattern: '/',
    nav: 'overview',
    forTied: true,
    uses: ['range', 'compare', 'pause', 'filters'],
    load: async () => (await import('../pages/overview.js')).Overview,
  },
  {
    name: 'live',
    pattern: '/live',
    nav: 'live',
    forTied: true,
    uses: ['filters'],
    load: async () => (await import('../pages/live/live.js')).Live,
  },
  {
    name: 'sessions',
    pattern: '/sessions',
    nav: 'sessions',
    forTied: true,
    uses: ['range', 'pause', 'filters'],
    load: async () => (await import('../pages/sessions.js')).Sessions,
  },
  {
    name: 'session',
    pattern: '/session/:session_id',
    nav: null,
    forTied: true,
    uses: ['pause'],
    load: async () => (await import('../pages/session.js')).SessionPage,
  },
  {
    name: 'explore',
    pattern: '/explore',
    nav: 'explore',
    forTied: false,
    uses: ['range', 'compare', 'pause', 'filters'],
    load: async () => (await import('../pages/explore/explore.js')).Explore,
  },
  {
    name: 'usage',
    pattern: '/usage',
    nav: 'usage',
    forTied: true,
    uses: ['pause', 'filters'],
    load: async () => (await import('../pages/usage.js')).Usage,
  },
  {
    name: 'lookup',
    pattern: '/lookup',
    nav: 'lookup',
    forTied: false,
    uses: [],
    load: async () => (await import('../pages/lookup/lookup.js')).Lookup,
  },
  {
    name: 'signals',
    pattern: '/signals',
    nav: 'signals',
    forTied: false,
    uses: ['range', 'pause'],
    load: async () => (await import('../pages/signals.js')).SignalsPage,
  },
  {
    name: 'health',
    pattern: '/health',
    nav: 'health',
    forTied: false,
    uses: ['pause'],
    load: async () => (await import('../pages/health.js')).Health,
  },
  {
    name: 'entity',
    pattern: '/entity/:kind/:value',
    nav: null,
    forTied: false,
    uses: ['range', 'pause', 'filters'],
    load: async () => (await import('../pages/entity.js')).Entity,
  },
  {
    name: 'sign-in',
    pattern: '/sign-in',
    nav: null,
    forTied: true,
    uses: [],
    load: async () => (await import('../pages/sign-in.js')).SignIn,
  },
];

/** The route of a path and its parameters, decoded; null if there is none. */
export function matchRoute(
  path: string,
  routes: readonly Route[] = ROUTES,
): { route: Route; args: Record<string, string> } | null {
  const given = path.split('/').filter((part) => part !== '');
  for (const route of routes) {
    const wanted = route.pattern.split('/').filter((part) => part !== '');
    if (wanted.length !== given.length) continue;
    const args: Record<string, string> = {};
    const fits = wanted.every((part, at) => {
      const value = given[at] ?? '';
      if (!part.startsWith(':')) return part === value;
      try {
        args[part.slice(1)] = decodeURIComponent(value);
        return true;
      } catch {
        return false;
      }
    });
    if (fits) return { route, args };
  }
  return null;
}
