/** The measures that can be explored, in the API's own names. */
export const MEASURES = [
  'bytes_received',
  'bytes_sent',
  'sessions_started',
  'sessions_closed',
  'sessions_failed',
  'sessions_rejected',
] as const;
export type Measure = (typeof MEASURES)[number];

/** Fields that split, and the top list of each. */
export const TOP_PATHS = {
  user: '/top/users',
  dest_host: '/top/destinations',
  dest_port: '/top/ports',
  source_ip: '/top/sources',
  protocol: '/top/protocols',
  proxy_id: '/top/proxies',
  acl_rule_matched: '/top/acl-rules',
  close_reason: '/top/close-reasons',
  status: '/top/statuses',
} as const;
export type Split = keyof typeof TOP_PATHS;

export const isBytes = (measure: Measure): boolean => measure.startsWith('bytes_');

/** A list that belongs to a count: which sessions it means. */
export function sessionsOf(measure: Measure): readonly (readonly [string, string])[] {
  switch (measure) {
    case 'sessions_started':
      return [['in', 'started']];
    case 'sessions_closed':
    case 'sessions_failed':
      return [
        ['in', 'ended'],
        ['status', measure.slice('sessions_'.length)],
      ];
    case 'sessions_rejected':
      return [
        ['in', 'ended'],
        ['status', 'rejected_by_acl'],
      ];
    case 'bytes_sent':
    case 'bytes_received':
      return [['in', 'open']];
  }
}
