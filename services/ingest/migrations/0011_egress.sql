-- From where the proxy reached the destination: what an abuse complaint quotes. Null in what came before.
ALTER TABLE ${table:sessions}
    ADD COLUMN IF NOT EXISTS egress_ip   Nullable(IPv6)   COMMENT 'local address from which the proxy reached the destination, null until connected' CODEC(ZSTD(1)) AFTER dest_port,
    ADD COLUMN IF NOT EXISTS egress_port Nullable(UInt16) COMMENT 'local port from which the proxy reached the destination, null until connected'    CODEC(ZSTD(1)) AFTER egress_ip;

${facade:sessions ADD COLUMN IF NOT EXISTS egress_ip Nullable(IPv6) AFTER dest_port, ADD COLUMN IF NOT EXISTS egress_port Nullable(UInt16) AFTER egress_ip};

ALTER TABLE ${table:sessions_by_user}
    ADD COLUMN IF NOT EXISTS egress_ip   Nullable(IPv6)   COMMENT 'local address from which the proxy reached the destination, null until connected' CODEC(ZSTD(1)) AFTER dest_port,
    ADD COLUMN IF NOT EXISTS egress_port Nullable(UInt16) COMMENT 'local port from which the proxy reached the destination, null until connected'    CODEC(ZSTD(1)) AFTER egress_ip;

${facade:sessions_by_user ADD COLUMN IF NOT EXISTS egress_ip Nullable(IPv6) AFTER dest_port, ADD COLUMN IF NOT EXISTS egress_port Nullable(UInt16) AFTER egress_ip};

ALTER TABLE ${table:sessions_by_destination}
    ADD COLUMN IF NOT EXISTS egress_ip   Nullable(IPv6)   COMMENT 'local address from which the proxy reached the destination, null until connected' CODEC(ZSTD(1)) AFTER dest_port,
    ADD COLUMN IF NOT EXISTS egress_port Nullable(UInt16) COMMENT 'local port from which the proxy reached the destination, null until connected'    CODEC(ZSTD(1)) AFTER egress_ip;

${facade:sessions_by_destination ADD COLUMN IF NOT EXISTS egress_ip Nullable(IPv6) AFTER dest_port, ADD COLUMN IF NOT EXISTS egress_port Nullable(UInt16) AFTER egress_ip};

ALTER TABLE ${table:session_events}
    ADD COLUMN IF NOT EXISTS egress_ip   Nullable(IPv6)   COMMENT 'local address from which the proxy reached the destination, null until connected' CODEC(ZSTD(1)) AFTER dest_port,
    ADD COLUMN IF NOT EXISTS egress_port Nullable(UInt16) COMMENT 'local port from which the proxy reached the destination, null until connected'    CODEC(ZSTD(1)) AFTER egress_ip;

${facade:session_events ADD COLUMN IF NOT EXISTS egress_ip Nullable(IPv6) AFTER dest_port, ADD COLUMN IF NOT EXISTS egress_port Nullable(UInt16) AFTER egress_ip};
