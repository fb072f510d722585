-- What a lookup with a time skips. See docs/adr/0048.
--
-- The expressions are those of services/query/src/sql/earlier-starts.ts. ClickHouse compares them as text, and reads
-- `IS NULL` and lists in a form of its own: so they have neither.
--
-- Connected sessions whose egress address was not recorded: few or none.
ALTER TABLE ${table:sessions}
    ADD INDEX IF NOT EXISTS egress_unrecorded if(ifNull(egress_port, 0) = 0, if(status = 'active', 1, if(status = 'closed', 1, ifNull(connect_ms + 1, 0))), 0) TYPE minmax GRANULARITY 1;

-- Egress ports of sessions that ended in another hour than they began in. 0 stands for a port that was
-- not recorded, or is not known here; 65536 for all that no lookup seeks.
ALTER TABLE ${table:ended_sessions}
    ADD INDEX IF NOT EXISTS far_ports if(ifNull(toStartOfHour(ended_at) = toStartOfHour(started_at), 0), 65536, if(if(ifNull(egress_port, 0) = 0, if(status = 'active', 1, if(status = 'closed', 1, ifNull(connect_ms + 1, 0))), 0) > 0, 0, ifNull(egress_port, 65536))) TYPE bloom_filter(0.01) GRANULARITY 4;

ALTER TABLE ${table:sessions} MATERIALIZE INDEX egress_unrecorded;

ALTER TABLE ${table:ended_sessions} MATERIALIZE INDEX far_ports;
