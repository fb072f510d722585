/**
 * The small grammar of the palette and the filter bar: `user:alice dest:*.example.com bytes>1g last 24h`.
 * A text becomes the API's parameters, and parameters become the same text again.
 */
export interface Parsed {
  /** The API's parameters, each with its values. */
  readonly params: ReadonlyMap<string, readonly string[]>;
  /** Text that is not a filter: free words, which the palette looks for among pages and suggestions. */
  readonly words: readonly string[];
  /** Terms that look like a filter and are none, with why. */
  readonly problems: readonly Problem[];
}

export interface Problem {
  readonly term: string;
  readonly reason: 'unknown_field' | 'not_a_number' | 'not_a_size' | 'empty';
}

/** Short names beside the API's own. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['dest', 'dest_host'],
  ['host', 'dest_host'],
  ['ip', 'dest_ip'],
  ['port', 'dest_port'],
  ['source', 'source_ip'],
  ['src', 'source_ip'],
  ['egress', 'egress_ip'],
  ['rule', 'acl_rule_matched'],
  ['reason', 'close_reason'],
  ['proxy', 'proxy_id'],
  ['acl', 'acl_decision'],
]);

/** Terms that compare: the field of the grammar, and the API's parameters for at least and at most. */
const COMPARED: ReadonlyMap<
  string,
  { readonly min: string; readonly max: string; readonly of: 'bytes' | 'ms' }
> = new Map([
  ['bytes', { min: 'min_bytes', max: 'max_bytes', of: 'bytes' }],
  ['duration', { min: 'min_duration_ms', max: 'max_duration_ms', of: 'ms' }],
]);

const SIZES: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 };
const SPANS: Readonly<Record<string, number>> = {
  ms: 1,
  '': 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

interface Term {
  readonly text: string;
  /** Something of it stood in quotes, perhaps nothing: `""` is a value, no value is a mistake. */
  readonly isQuoted: boolean;
}

/** Words before a calendar period. */
const PERIODS: ReadonlyMap<string, RegExp> = new Map([
  ['month', /^\d{4}-\d{2}$/],
  ['day', /^\d{4}-\d{2}-\d{2}$/],
]);

/** `a:"b c" d` as terms; a quote keeps blanks together, a backslash inside it keeps the next character. */
function termsOf(text: string): Term[] {
  const terms: Term[] = [];
  let term = '';
  let isQuoted = false;
  let any = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? '';
    if (isQuoted && char === '\\' && at + 1 < text.length) {
      term += text[++at] ?? '';
    } else if (char === '"') {
      isQuoted = !isQuoted;
      any = true;
    } else if (!isQuoted && /\s/.test(char)) {
      if (any || term !== '') terms.push({ text: term, isQuoted: any });
      term = '';
      any = false;
    } else term += char;
  }
  if (any || term !== '') terms.push({ text: term, isQuoted: any });
  return terms;
}

/**
 * Reads a text. `fields` are the API's plain filters. `last 24h` becomes a range, `since` and `until`
 * its ends, `month 2026-03` or `day 2026-03-29` a period.
 */
export function parse(text: string, fields: ReadonlySet<string>): Parsed {
  const params = new Map<string, string[]>();
  const words: string[] = [];
  const problems: Problem[] = [];
  const add = (name: string, value: string): void => {
    params.set(name, [...(params.get(name) ?? []), value]);
  };
  const terms = termsOf(text);
  for (let at = 0; at < terms.length; at++) {
    const { text: term = '', isQuoted = false } = terms[at] ?? {};
    const next = terms[at + 1]?.text;
    if (term === 'last' && next !== undefined && /^[1-9]\d{0,3}[mhd]$/.test(next)) {
      params.set('from', [`now-${next}`]);
      params.set('to', ['now']);
      at += 1;
      continue;
    }
    if (next !== undefined && PERIODS.get(term)?.test(next) === true) {
      params.set('period', [next]);
      at += 1;
      continue;
    }
    if ((term === 'since' || term === 'until') && next !== undefined) {
      params.set(term === 'since' ? 'from' : 'to', [next]);
      at += 1;
      continue;
    }
    const compared = /^(\w+)(>=|<=|>|<)(.*)$/.exec(term);
    if (compared !== null) {
      const [, field = '', operator = '', value = ''] = compared;
      const names = COMPARED.get(field);
      if (names === undefined) {
        problems.push({ term, reason: 'unknown_field' });
        continue;
      }
      const number = amountOf(value, names.of === 'bytes' ? SIZES : SPANS);
      if (number === null)
        problems.push({ term, reason: names.of === 'bytes' ? 'not_a_size' : 'not_a_number' });
      else params.set(operator.startsWith('>') ? names.min : names.max, [String(number)]);
      continue;
    }
    const colon = term.indexOf(':');
    const name = term.slice(0, colon);
    if (colon <= 0 || !/^\w+$/.test(name)) {
      if (term !== '') words.push(term);
      continue;
    }
    const field = ALIASES.get(name) ?? name;
    const value = term.slice(colon + 1);
    if (!fields.has(field)) problems.push({ term, reason: 'unknown_field' });
    else if (value === '' && !isQuoted) problems.push({ term, reason: 'empty' });
    else add(field, value);
  }
  return { params, words, problems };
}

function amountOf(text: string, units: Readonly<Record<string, number>>): number | null {
  const match = /^(\d+(?:\.\d+)?)([a-z]*)$/i.exec(text);
  const factor = units[(match?.[2] ?? '').toLowerCase().replace(/b$/, '')];
  if (match === null || factor === undefined) return null;
  const amount = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(amount) ? amount : null;
}

/** A number in the largest unit that leaves it whole: `1k` for 1,000, but `1024`. */
function amountText(text: string, units: Readonly<Record<string, number>>): string {
  const value = Number(text);
  const [unit = '', factor = 1] =
    Object.entries(units)
      .toSorted(([, a], [, b]) => b - a)
      .find(([, each]) => value >= each && value % each === 0) ?? [];
  return factor === 1 ? text : `${String(value / factor)}${unit}`;
}

/** Parameters as a text that `parse` reads as the same parameters. */
export function unparse(
  params: ReadonlyMap<string, readonly string[]>,
  fields: ReadonlySet<string>,
): string {
  const terms: string[] = [];
  for (const [name, values] of params) {
    if (fields.has(name)) for (const value of values) terms.push(termOf(name, value));
    for (const [field, { min, max, of }] of COMPARED) {
      const amount = amountText(values[0] ?? '', of === 'bytes' ? SIZES : SPANS);
      if (name === min) terms.push(`${field}>${amount}`);
      if (name === max) terms.push(`${field}<${amount}`);
    }
  }
  const from = params.get('from')?.[0];
  const to = params.get('to')?.[0];
  const relative = /^now-(\d+[mhd])$/.exec(from ?? '');
  if (relative !== null && to === 'now') terms.push(`last ${relative[1]}`);
  else {
    if (from !== undefined) terms.push(`since ${from}`);
    if (to !== undefined) terms.push(`until ${to}`);
  }
  const period = params.get('period')?.[0];
  if (period !== undefined) {
    terms.push(`${PERIODS.get('day')?.test(period) === true ? 'day' : 'month'} ${period}`);
  }
  return terms.join(' ');
}

/** The term that is being typed at the end of a text, and all before it. */
export function typedTerm(text: string): { readonly before: string; readonly term: string } {
  const at = Math.max(text.lastIndexOf(' '), text.lastIndexOf('\n')) + 1;
  return { before: text.slice(0, at), term: text.slice(at) };
}

/** The API's name of a field by its own or a short name; null if there is none. */
export function fieldOf(name: string, fields: ReadonlySet<string>): string | null {
  const field = ALIASES.get(name) ?? name;
  return fields.has(field) ? field : null;
}

/** A filter as a term of the grammar. */
export function termOf(field: string, value: string): string {
  return `${field}:${quoted(value)}`;
}

function quoted(value: string): string {
  return value === '' || /[\s"\\]/.test(value) ? `"${value.replaceAll(/["\\]/g, '\\$&')}"` : value;
}
