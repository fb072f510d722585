/** Every text of the dashboard in English. Other languages have the same keys; the type says so. */
export const en = {
  product: 'Sockscope',
  skip: 'Skip to the content',
  nav: {
    label: 'Pages',
    overview: 'Overview',
    live: 'Live',
    sessions: 'Sessions',
    explore: 'Explore',
    usage: 'Usage',
    lookup: 'Lookup',
    signals: 'Signals',
    health: 'Health',
  },
  range: {
    label: 'Range',
    last: (text: string) => `Last ${text}`,
    previous: 'Earlier by one range',
    next: 'Later by one range',
    month: 'Month',
    custom: 'Custom',
    from: 'From',
    to: 'To',
    apply: 'Apply',
  },
  filters: {
    label: 'Filters',
    edit: 'Edit as text',
    add: 'Filter, such as user:alice dest:*.example.com bytes>1g last 24h',
    remove: (term: string) => `Remove ${term}`,
    clear: 'Clear all filters',
    unknownField: (term: string) => `There is no filter ${term}.`,
    notANumber: (term: string) => `${term} needs a number.`,
    notASize: (term: string) => `${term} needs a size such as 500k, 20m or 1g.`,
    empty: (term: string) => `${term} needs a value.`,
  },
  compare: 'Compare with the previous period',
  theme: { label: 'Theme', light: 'Light', dark: 'Dark' },
  language: 'Language',
  zone: 'Time zone',
  keys: {
    title: 'Keys',
    palette: 'Open the palette',
    help: 'Show this list',
    shift: 'Earlier or later by one range',
    compare: 'Compare with the previous period',
    clear: 'Close, or clear the filters',
  },
  state: {
    loading: 'Loading',
    empty: 'No rows',
    emptyFiltered: (filter: string) => `Nothing matches ${filter} in this range.`,
    widen: 'Look at 30 days',
    failed: 'This could not be loaded',
    retry: 'Try again',
    request: (id: string) => `Request ${id}`,
    stale: (age: string) => `These numbers are ${age} old. The pipeline lags behind.`,
    age: (age: string) => `${age} ago`,
    partial: 'Part of this range is not complete.',
    offline: 'The server does not answer.',
  },
  table: {
    show: 'Show as a table',
    hide: 'Show as a chart',
    more: 'Load more',
  },
  direction: { sent: 'sent', received: 'received' },
  overview: {
    numbers: 'Numbers',
    traffic: 'Traffic',
    sessions: 'Sessions',
    topUsers: 'Top users',
    topDestinations: 'Top destinations',
    closeReasons: 'Why sessions ended',
    rejections: 'Rejections by rule',
  },
  field: {
    user: 'User',
    dest_host: 'Destination',
    close_reason: 'Close reason',
    acl_rule_matched: 'Rule',
  },
  measure: {
    sessions: 'Sessions',
    sessions_open: 'Open now',
    bytes: 'Bytes',
    sessions_started: 'Started',
    sessions_closed: 'Closed',
    sessions_failed: 'Failed',
    sessions_rejected: 'Rejected',
    bytes_sent: 'Sent',
    bytes_received: 'Received',
    unique_users: 'Users',
    unique_destinations: 'Destinations',
    duration: 'Duration',
  },
  change: { new: 'new', previous: 'than the period before' },
  other: 'Other',
  notFound: 'There is no such page.',
} as const;

type Widened<T> = {
  readonly [K in keyof T]: T[K] extends string
    ? string
    : T[K] extends (...args: infer A) => string
      ? (...args: A) => string
      : Widened<T[K]>;
};

export type Texts = Widened<typeof en>;
