/** Where to go after signing in: a path of ours, or whoever makes a link could send people elsewhere. */
export function backOf(text: string | null): string {
  return text !== null && /^\/(?![/\\])/.test(text) && !text.startsWith('/sign-in') ? text : '/';
}
