/**
 * Reads the text of a complaint as it was mailed: which address it is about, which port, and when. It
 * only suggests: the reader sees every value that was found and may change it.
 */
import type { Wall } from '../../format/times.js';

export interface FoundAddress {
  readonly ip: string;
  readonly port: number | null;
  /** `egress`: the address of the attacker; `dest`: the address of the complainant. */
  readonly role: 'egress' | 'dest';
}

export interface FoundTime {
  /** The time as the text has it. */
  readonly text: string;
  readonly wall: Wall;
  /** Minutes ahead of UTC; null if the text has no zone. */
  readonly offset: number | null;
}

export interface Complaint {
  readonly addresses: readonly FoundAddress[];
  readonly times: readonly FoundTime[];
}

/** More text than this is not read: a complaint with its logs is shorter. */
export const COMPLAINT_CHARS_MAX = 100_000;
const FOUND_MAX = 20;

const OCTET = String.raw`(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`;
const IPV4 = String.raw`(?<![\w.])${OCTET}(?:\.${OCTET}){3}(?![\w]|\.\d)`;
const IPV6 = String.raw`(?<![\w:.])(?:[0-9a-f]{1,4}:){2,7}(?:[0-9a-f]{1,4}|:)?(?::[0-9a-f]{1,4}){0,6}(?![\w:])|(?<![\w:])::(?:[0-9a-f]{1,4}:){0,6}[0-9a-f]{1,4}(?![\w:])`;
const ADDRESS = new RegExp(`\\[(${IPV6})\\]|(${IPV6})|(${IPV4})`, 'gi');
/** Behind an address: `:51234`, ` port 51234`, `, Port: 51234`, `</IP_Address><Port>51234`, ` spt=51234`. */
const PORT =
  /^(?:[:#]|[\s,;()>|"'=]{0,6}(?:<\/[\w-]{1,40}>\s{0,40})?<?\(?(?:(?:src|source|dst|dest|destination|remote|local)[ _-]?)?(?:port|spt|dpt)(?:[ _-]?(?:number|no))?[\s:="'>]{1,6})(\d{1,5})(?!\d|\.\d)/i;

/** Words before an address that show its owner. The nearest one counts. */
const FROM =
  /\b(?:from|source|src|saddr|attacker|attacking|offend\w*|abus\w*|infring\w*|client|rhost|remote|by|ip[ _-]?address)\b/gi;
const TO =
  /\b(?:to|toward|towards|destination|dest|dst|daddr|target|victim|server|our|against|local)\b/gi;
/** Characters before an address in which such a word may stand. */
const WORDS_BEFORE = 60;

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const MONTH = `(${MONTHS.join('|')})[a-z]*`;
const CLOCK = String.raw`(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d{1,9})?)?(?:\s*([ap])\.?m\.?)?`;
/** Abbreviations that mean one offset wherever they are used; CST, IST and BST do not. */
const ZONES: Readonly<Record<string, number>> = {
  z: 0,
  utc: 0,
  gmt: 0,
  wet: 0,
  west: 60,
  cet: 60,
  cest: 120,
  eet: 120,
  eest: 180,
  msk: 180,
  jst: 540,
  est: -300,
  edt: -240,
  cdt: -300,
  mdt: -360,
  mst: -420,
  pdt: -420,
  pst: -480,
};
const ZONE = String.raw`(?:\s*\(?(?:(?:utc|gmt)?([+-]\d{1,2}(?::?\d{2})?)\b|(${Object.keys(ZONES).join('|')})\b))?`;

interface Form {
  readonly pattern: RegExp;
  /** Year, month, day of a match; its clock and zone follow. */
  readonly date: (parts: readonly string[], nowMs: number) => readonly [number, number, number];
}

const monthOf = (name: string): number => MONTHS.indexOf(name.slice(0, 3).toLowerCase()) + 1;

/** Each has three groups of a date, then the clock and the zone. A date such as 03/05/2026 may be either, so none is read. */
const FORMS: readonly Form[] = [
  {
    pattern: new RegExp(
      String.raw`\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})[T\s,]{1,3}${CLOCK}${ZONE}`,
      'gi',
    ),
    date: ([year = '', month = '', day = '']) => [Number(year), Number(month), Number(day)],
  },
  {
    pattern: new RegExp(
      String.raw`\b(\d{1,2})[\s/.-]${MONTH}[\s/.,-]{1,2}(\d{4})[:\s,T]{1,3}(?:at\s)?${CLOCK}${ZONE}`,
      'gi',
    ),
    date: ([day = '', month = '', year = '']) => [Number(year), monthOf(month), Number(day)],
  },
  {
    pattern: new RegExp(
      String.raw`\b${MONTH}\s{1,2}(\d{1,2})(?:st|nd|rd|th)?,?\s(\d{4}),?\s(?:at\s)?${CLOCK}${ZONE}`,
      'gi',
    ),
    date: ([month = '', day = '', year = '']) => [Number(year), monthOf(month), Number(day)],
  },
  {
    // 05.03.2026: with dots the day comes first.
    pattern: new RegExp(String.raw`\b(\d{1,2})\.(\d{1,2})\.(\d{4})[\s,]{1,3}${CLOCK}${ZONE}`, 'gi'),
    date: ([day = '', month = '', year = '']) => [Number(year), Number(month), Number(day)],
  },
  {
    // A line of syslog has no year: the last such day is meant.
    pattern: new RegExp(String.raw`\b${MONTH}\s{1,2}(\d{1,2})()\s${CLOCK}${ZONE}`, 'gi'),
    date([month = '', day = ''], nowMs) {
      const now = new Date(nowMs);
      const year = now.getUTCFullYear();
      const isAhead = Date.UTC(year, monthOf(month) - 1, Number(day)) > nowMs + 86_400_000;
      return [isAhead ? year - 1 : year, monthOf(month), Number(day)];
    },
  },
];

/** The addresses, ports and times of a text. `nowMs` gives dates without a year their year. */
export function readComplaint(given: string, nowMs: number): Complaint {
  const text = given.slice(0, COMPLAINT_CHARS_MAX);
  return { addresses: addressesOf(text), times: timesOf(text, nowMs) };
}

function addressesOf(text: string): FoundAddress[] {
  const found: FoundAddress[] = [];
  for (const match of text.matchAll(ADDRESS)) {
    const ip = (match[1] ?? match[2] ?? match[3] ?? '').toLowerCase();
    // A clock such as 14:03:20 has no letter and no double colon.
    if (ip.includes(':') && !/::|[a-f]/.test(ip) && ip.split(':').length < 8) continue;
    const after = text.slice(match.index + match[0].length);
    const port = Number(PORT.exec(after)?.[1] ?? Number.NaN);
    const before = text.slice(Math.max(0, match.index - WORDS_BEFORE), match.index);
    const known = found.findIndex((each) => each.ip === ip);
    const shown = port >= 1 && port <= 65_535 ? port : null;
    const first = found[known];
    if (first !== undefined) {
      // The same address again may have its port.
      if (first.port === null) found[known] = { ...first, port: shown };
      continue;
    }
    if (found.length === FOUND_MAX) break;
    found.push({
      ip,
      port: shown,
      role: roleOf(before) ?? (found.length === 0 ? 'egress' : 'dest'),
    });
  }
  return found;
}

function roleOf(before: string): FoundAddress['role'] | null {
  const last = (words: RegExp): number => [...before.matchAll(words)].at(-1)?.index ?? -1;
  const [from, to] = [last(FROM), last(TO)];
  if (from === to) return null;
  return from > to ? 'egress' : 'dest';
}

function timesOf(text: string, nowMs: number): FoundTime[] {
  const found: (FoundTime & { readonly at: number; readonly end: number })[] = [];
  for (const { pattern, date } of FORMS) {
    for (const match of text.matchAll(pattern)) {
      const [whole, ...parts] = match;
      const [year, month, day] = date(parts, nowMs);
      const [hours = '', minute = '', second = '0', half, offset, zone] = parts.slice(3);
      const hour =
        (Number(hours) % (half === undefined ? 24 : 12)) + (half?.toLowerCase() === 'p' ? 12 : 0);
      const wall: Wall = { year, month, day, hour, minute: Number(minute), second: Number(second) };
      const end = match.index + whole.length;
      const isWithin = found.some((each) => match.index < each.end && end > each.at);
      if (isWithin || !isReal(wall) || Number(hours) > 23) continue;
      found.push({
        text: whole.trim(),
        wall,
        offset: offsetOf(offset, zone),
        at: match.index,
        end,
      });
    }
  }
  return found
    .toSorted((a, b) => a.at - b.at)
    .slice(0, FOUND_MAX)
    .map(({ at: _at, end: _end, ...time }) => time);
}

function isReal({ year, month, day, hour, minute, second }: Wall): boolean {
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  return (
    year >= 1970 &&
    year < 2106 &&
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    minute < 60 &&
    second < 60
  );
}

function offsetOf(offset: string | undefined, zone: string | undefined): number | null {
  if (zone !== undefined) return ZONES[zone.toLowerCase()] ?? null;
  if (offset === undefined) return null;
  const digits = offset.slice(1).replace(':', '');
  const hours = Number(digits.length > 2 ? digits.slice(0, -2) : digits);
  const minutes = digits.length > 2 ? Number(digits.slice(-2)) : 0;
  return (offset.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
}
