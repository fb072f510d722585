import type { TopField } from '@sockscope/schemas/api';
import type { SumsBy } from '../sql/sums.js';

/** The dimension of the sums for a field of a session. */
export const SUMS_BY: Readonly<Record<TopField, SumsBy>> = {
  user: 'user',
  dest_host: 'destination',
  dest_ip: 'destination_address',
  egress_ip: 'egress_address',
  dest_port: 'port',
  source_ip: 'source',
  protocol: 'protocol',
  proxy_id: 'proxy',
  acl_rule_matched: 'acl_rule',
  close_reason: 'close_reason',
  status: 'status',
};
