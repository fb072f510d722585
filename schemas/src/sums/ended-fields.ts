/** Fields of `ended_sessions` that rows of a former version lack; such a row has 0 as `egress_port`. */
export const ENDED_ADDRESS_FIELDS = ['dest_ip', 'egress_ip', 'egress_port', 'connect_ms'] as const;

/** The fields that `ended_sessions` holds of a session: at least of each that ended in another hour than it began in. */
export const ENDED_FIELDS = [
  'session_id',
  'started_at',
  'user',
  'dest_host',
  'dest_port',
  'source_ip',
  'protocol',
  'proxy_id',
  'acl_rule_matched',
  'close_reason',
  'status',
  'bytes_sent',
  'bytes_received',
  'packets_sent',
  'packets_received',
  'duration_ms',
  ...ENDED_ADDRESS_FIELDS,
] as const;
