import { effect, signal } from '@preact/signals';

export type Theme = 'light' | 'dark';
const KEY = 'sockscope.theme';

const stored = (): Theme | null => {
  const value = window.localStorage.getItem(KEY);
  return value === 'light' || value === 'dark' ? value : null;
};
const preferred = (): Theme =>
  window.matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';

export const theme = signal<Theme>(stored() ?? preferred());

effect(() => {
  document.documentElement.dataset['theme'] = theme.value;
});

export function choose(next: Theme): void {
  window.localStorage.setItem(KEY, next);
  theme.value = next;
}

/** The value of a colour of the present theme, for canvases, which know no variables. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
