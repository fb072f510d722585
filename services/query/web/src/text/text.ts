/** All texts of the dashboard in the language of the page. */
import { signal } from '@preact/signals';
import { en } from './en.js';
import type { Texts } from './en.js';

export const LANGUAGES = ['en', 'pl'] as const;
export type Language = (typeof LANGUAGES)[number];

export const language = signal<Language>('en');
export const t = signal<Texts>(en);

/** Loads a language and shows it. English is always there; others are files of their own. */
export async function speak(next: Language): Promise<void> {
  t.value = next === 'en' ? en : (await import('./pl.js')).pl;
  language.value = next;
  document.documentElement.lang = next;
}
