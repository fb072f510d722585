export interface TimelineEvent {
  readonly type: string;
  readonly seq: number;
  readonly occurred_at: string;
  readonly bytes_sent: number;
  readonly bytes_received: number;
}

/** How many events are missing before each place of a timeline, by the numbers that the proxy gave them. */
export function gapsOf(events: readonly TimelineEvent[]): Map<number, number> {
  const gaps = new Map<number, number>();
  let expected = 0;
  events.forEach(({ seq }, at) => {
    if (seq > expected) gaps.set(at, seq - expected);
    expected = seq + 1;
  });
  return gaps;
}
