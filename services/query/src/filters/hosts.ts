/**
 * Values of the filter `dest_host`: a host, or `*.` and a name for every host below it. A client may ask for a host
 * that looks like such a pattern. A backslash before it says that the host itself is meant: `\*.example`.
 */
const LOOKS_ESCAPED = /^\\+\*/;
const NEEDS_ESCAPE = /^\\*\*/;

export function isPattern(value: string): boolean {
  return value.startsWith('*.');
}

/** The value for exactly this host. */
export function exactHost(host: string): string {
  return NEEDS_ESCAPE.test(host) ? `\\${host}` : host;
}

/** The host of a value that is no pattern. */
export function plainHost(value: string): string {
  return LOOKS_ESCAPED.test(value) ? value.slice(1) : value;
}
