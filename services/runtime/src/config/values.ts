import { z } from 'zod';

const DURATION_UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const BYTE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

/** The units of durations and sizes, the largest first. */
const UNITS = Object.entries({ ...DURATION_UNITS_MS, ...BYTE_UNITS }).toSorted(
  ([, one], [, other]) => other - one,
);

/** A number as the shortest text with a unit that `schema` reads as the same number: `90d`, `64KiB`; null if none. */
export function inUnits(value: unknown, schema: z.ZodType): string | null {
  if (typeof value !== 'number' || value === 0) return null;
  for (const [unit, factor] of UNITS) {
    const text: string = `${value / factor}${unit}`;
    if (value % factor === 0 && schema.safeParse(text).data === value) return text;
  }
  return null;
}

function scaled(text: unknown, units: Readonly<Record<string, number>>, bare: number): unknown {
  if (typeof text !== 'string') return text;
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim());
  if (match === null) return text;
  const factor = match[2] === '' ? bare : units[match[2] ?? ''];
  return factor === undefined ? text : Math.round(Number(match[1]) * factor);
}

/** A length of time in milliseconds: a number of milliseconds, or text such as `500ms`, `5s`, `2h`, `90d`. */
export function durationMs(bounds: { min?: number; max?: number } = {}): z.ZodType<number> {
  return z.preprocess(
    (value) => scaled(value, DURATION_UNITS_MS, 1),
    z
      .int('must be a duration such as 500ms, 5s, 10m, 2h or 90d')
      .min(bounds.min ?? 0)
      .max(bounds.max ?? Number.MAX_SAFE_INTEGER),
  );
}

/** A size in bytes: a number of bytes, or text such as `64KiB`, `1GiB`. */
export function byteSize(bounds: { min?: number; max?: number } = {}): z.ZodType<number> {
  return z.preprocess(
    (value) => scaled(value, BYTE_UNITS, 1),
    z
      .int('must be a size such as 65536, 64KiB, 16MiB or 1GiB')
      .min(bounds.min ?? 0)
      .max(bounds.max ?? Number.MAX_SAFE_INTEGER),
  );
}

/** A whole number; environment variables carry it as text. */
export function integer(bounds: { min?: number; max?: number } = {}): z.ZodType<number> {
  return z.preprocess(
    (value) => (typeof value === 'string' && /^-?\d+$/.test(value.trim()) ? Number(value) : value),
    z
      .int('must be a whole number')
      .min(bounds.min ?? Number.MIN_SAFE_INTEGER)
      .max(bounds.max ?? Number.MAX_SAFE_INTEGER),
  );
}

/** A switch: true/false, yes/no, on/off, 1/0. */
export function flag(): z.ZodType<boolean> {
  return z.preprocess((value) => {
    if (typeof value !== 'string') return value;
    if (/^(true|yes|on|1)$/i.test(value.trim())) return true;
    if (/^(false|no|off|0)$/i.test(value.trim())) return false;
    return value;
  }, z.boolean('must be true or false'));
}

/** A list of texts: a YAML list, or text with commas between. Empty parts are dropped. */
export function textList(options: { min?: number; max?: number } = {}): z.ZodType<string[]> {
  return z.preprocess(
    (value) =>
      typeof value === 'string'
        ? value
            .split(',')
            .map((part) => part.trim())
            .filter((part) => part !== '')
        : value,
    z
      .array(z.string().min(1))
      .min(options.min ?? 0)
      .max(options.max ?? 1_000),
  );
}

export interface ListenAddress {
  /** An IPv4 or IPv6 address, without brackets. */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
}

/** `host:port`, `[v6]:port` or `:port`'s explicit form; hosts are addresses or `localhost`. */
export function listenAddress(): z.ZodType<ListenAddress> {
  const shape = z.object({
    host: z.union([z.ipv4(), z.ipv6(), z.literal('localhost')]),
    port: z.int().min(0).max(65_535),
  });
  return z.preprocess(
    (value) => {
      if (typeof value !== 'string') return value;
      const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value.trim());
      return match === null ? value : { host: match[1] ?? match[2], port: Number(match[3]) };
    },
    z.custom<ListenAddress>(
      (value) => shape.safeParse(value).success,
      'must be address:port with a port up to 65535, such as 127.0.0.1:1080 or [::1]:1080',
    ),
  );
}

/** `127.0.0.1:1080` or `[::1]:1080`. */
export function formatListenAddress(address: ListenAddress): string {
  return address.host.includes(':')
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`;
}

/** Whether an address can be reached from this machine alone. */
export function isLoopback(address: ListenAddress): boolean {
  return address.host === 'localhost' || address.host === '::1' || address.host.startsWith('127.');
}
