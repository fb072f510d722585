/** The signed-in caller, and so the visible pages. */
import type { Schemas } from '@sockscope/client';
import { computed, signal } from '@preact/signals';
import { get } from '../api/client.js';

export type Me = Schemas['Me'];

/** Null before the answer, and without a valid key. */
export const me = signal<Me | null>(null);

/** A key that is tied to users has a portal of fewer pages. */
export const isTied = computed(() => me.value !== null && me.value.users !== null);
export const isAdmin = computed(() => me.value?.scopes.includes('admin') === true);
export const mayExport = computed(
  () => isAdmin.value || me.value?.scopes.includes('export') === true,
);

/** Asks for the caller. If the API does not answer, the next question shows it. */
export async function askWhoWeAre(): Promise<void> {
  me.value = await get<Me>('/me', [], new AbortController().signal).catch(() => null);
}
