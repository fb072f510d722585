export const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Day = (typeof DAYS)[number];

export const MINUTES_PER_DAY = 1_440;
const MINUTE_MS = 60_000;

/**
 * A weekly window in local time, half-open. One that ends before it begins reaches into the
 * next day and belongs to the day on which it began.
 */
export interface TimeWindow {
  readonly days: readonly Day[];
  /** Minutes since local midnight. */
  readonly fromMinute: number;
  readonly toMinute: number;
  /** IANA name, such as Europe/Berlin. */
  readonly timeZone: string;
}

export interface LocalTime {
  readonly day: Day;
  readonly minute: number;
}

/** Whether this runtime knows the zone. */
export function isTimeZone(text: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: text });
    return true;
  } catch {
    return false;
  }
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** Weekday and minute on a clock in `timeZone`. Costs some microseconds: ask once a minute. */
export function localTimeOf(nowMs: number, timeZone: string): LocalTime {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      weekday: 'short',
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
    });
    formats.set(timeZone, format);
  }
  const parts = new Map(format.formatToParts(nowMs).map((part) => [part.type, part.value]));
  const weekday = (parts.get('weekday') ?? '').toLowerCase();
  return {
    day: DAYS.find((day) => day === weekday) ?? 'mon',
    minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')),
  };
}

function dayBefore(day: Day): Day {
  return DAYS[(DAYS.indexOf(day) + DAYS.length - 1) % DAYS.length] ?? 'mon';
}

/** Whether the window is open at a local time. */
export function windowHolds(window: TimeWindow, at: LocalTime): boolean {
  const beganToday = window.days.includes(at.day);
  if (window.fromMinute < window.toMinute) {
    return beganToday && at.minute >= window.fromMinute && at.minute < window.toMinute;
  }
  const beganYesterday = window.days.includes(dayBefore(at.day));
  return (
    (beganToday && at.minute >= window.fromMinute) ||
    (beganYesterday && at.minute < window.toMinute)
  );
}

/** The UTC minute of a time; windows cannot open or close within one. */
export function minuteIndex(nowMs: number): number {
  return Math.floor(nowMs / MINUTE_MS);
}
