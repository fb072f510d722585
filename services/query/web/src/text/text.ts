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

const rules = new Map<Language, Intl.PluralRules>();

/** The form of a count: `{ one: 'session', other: 'sessions' }`; Polish also has few and many. */
export function plural(count: number, forms: Plural): string {
  const known = rules.get(language.value) ?? new Intl.PluralRules(language.value);
  rules.set(language.value, known);
  return forms[known.select(count)] ?? forms.other;
}

export type Plural = Readonly<Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }>;
