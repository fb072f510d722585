-- An abuse complaint quotes the port of our side. A proxy uses each of its ports in turn, so a granule has
-- few sessions of one port, and most have none. It takes 1.2 bytes a session.
ALTER TABLE ${table:sessions}
    ADD INDEX IF NOT EXISTS egress_ports egress_port TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE ${table:sessions} MATERIALIZE INDEX egress_ports;
