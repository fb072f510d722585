import { signal } from '@preact/signals';

/** Ages are shown to the second, and nobody looks at a hidden page. */
const TICK_MS = 1_000;

/** The time now, in milliseconds since 1970, as long as the page is visible. */
export const clock = signal(Date.now());

window.setInterval(() => {
  if (!document.hidden) clock.value = Date.now();
}, TICK_MS);
