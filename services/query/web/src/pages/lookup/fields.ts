/** The parameters of a lookup, with the API's names: the state of the page. */
export const FIELDS = ['egress_ip', 'egress_port', 'dest_ip', 'dest_host', 'dest_port'] as const;
export const ADDRESSES = ['egress_ip', 'dest_ip', 'dest_host'] as const;
