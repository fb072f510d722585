/** The page after signing in: a path of ours. Any other would let a forged link lead elsewhere. */
export function backOf(text: string | null): string {
  return text !== null && /^\/(?![/\\])/.test(text) && !text.startsWith('/sign-in') ? text : '/';
}
