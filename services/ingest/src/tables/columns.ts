/**
 * Which columns ingest writes into which table, and what stands in them. The SQL in migrations/ must
 * have these columns; others may have defaults. `checkTables` compares the two at every start.
 */
import { minuteOf, rowOf, toTimestamp } from '@sockscope/schemas';
import type { Counters, SessionEvent, SessionRow } from '@sockscope/schemas';

/** A value as JSONCompactEachRow carries it: times as ISO 8601 text. */
export type CellValue = string | number | null;

export const SESSION_COLUMNS = [
  'session_id',
  'seq',
  'proxy_id',
  'proxy_epoch',
  'started_at',
  'user',
  'source_ip',
  'source_port',
  'dest_host',
  'dest_ip',
  'dest_port',
  'protocol',
  'command',
  'auth_method',
  'acl_decision',
  'acl_rule_matched',
  'bytes_sent',
  'bytes_received',
  'packets_sent',
  'packets_received',
  'status',
  'close_reason',
  'error_code',
  'connect_ms',
  'updated_at',
  'ended_at',
  'duration_ms',
  'version',
] as const satisfies readonly (keyof SessionRow)[];

export const TRAFFIC_COLUMNS = [
  'bucket',
  'user',
  'dest_host',
  'session_id',
  'started_at',
  'proxy_id',
  'source_ip',
  'dest_port',
  'protocol',
  'bytes_sent',
  'bytes_received',
  'packets_sent',
  'packets_received',
] as const;

export const EVENT_COLUMNS = [
  'type',
  'schema_version',
  'occurred_at',
  'session_id',
  'seq',
  'proxy_id',
  'proxy_epoch',
  'started_at',
  'user',
  'source_ip',
  'source_port',
  'dest_host',
  'dest_ip',
  'dest_port',
  'protocol',
  'command',
  'auth_method',
  'acl_decision',
  'acl_rule_matched',
  'bytes_sent',
  'bytes_received',
  'packets_sent',
  'packets_received',
  'interval_start',
  'interval_end',
  'delta_bytes_sent',
  'delta_bytes_received',
  'delta_packets_sent',
  'delta_packets_received',
  'minute_bytes_sent',
  'minute_bytes_received',
  'minute_packets_sent',
  'minute_packets_received',
  'ended_at',
  'duration_ms',
  'status',
  'close_reason',
  'error_code',
  'connect_ms',
] as const;

/** The session's row that this event stands for, in the order of SESSION_COLUMNS. */
export function sessionCells(event: SessionEvent): CellValue[] {
  const row = rowOf(event);
  return SESSION_COLUMNS.map((name) => row[name]);
}

/** Traffic of one session in one minute, in the order of TRAFFIC_COLUMNS. */
export interface MinuteTraffic {
  readonly event: SessionEvent;
  readonly bucketMs: number;
  readonly counters: Counters;
}

export function trafficCells({ event, bucketMs, counters }: MinuteTraffic): CellValue[] {
  return [
    toTimestamp(bucketMs),
    event.user,
    event.dest_host,
    event.session_id,
    event.started_at,
    event.proxy_id,
    event.source_ip,
    event.dest_port,
    event.protocol,
    counters.bytes_sent,
    counters.bytes_received,
    counters.packets_sent,
    counters.packets_received,
  ];
}

/** The minute that an event's `minute` counters belong to, or null for a SessionStarted. */
export function bucketOf(event: SessionEvent): number | null {
  return event.type === 'SessionStarted' ? null : minuteOf(Date.parse(event.interval_start));
}

/** The event itself, in the order of EVENT_COLUMNS; what its type does not have is null, counters are 0. */
export function eventCells(event: SessionEvent): CellValue[] {
  const interval = event.type === 'SessionStarted' ? null : event;
  const closed = event.type === 'SessionClosed' ? event : null;
  return [
    event.type,
    event.schema_version,
    event.occurred_at,
    event.session_id,
    event.seq,
    event.proxy_id,
    event.proxy_epoch,
    event.started_at,
    event.user,
    event.source_ip,
    event.source_port,
    event.dest_host,
    event.dest_ip,
    event.dest_port,
    event.protocol,
    event.command,
    event.auth_method,
    event.acl_decision,
    event.acl_rule_matched,
    event.bytes_sent,
    event.bytes_received,
    event.packets_sent,
    event.packets_received,
    interval?.interval_start ?? null,
    interval?.interval_end ?? null,
    interval?.delta.bytes_sent ?? 0,
    interval?.delta.bytes_received ?? 0,
    interval?.delta.packets_sent ?? 0,
    interval?.delta.packets_received ?? 0,
    interval?.minute.bytes_sent ?? 0,
    interval?.minute.bytes_received ?? 0,
    interval?.minute.packets_sent ?? 0,
    interval?.minute.packets_received ?? 0,
    closed?.ended_at ?? null,
    closed?.duration_ms ?? null,
    closed?.status ?? null,
    closed?.close_reason ?? null,
    closed?.error_code ?? null,
    closed?.connect_ms ?? null,
  ];
}
