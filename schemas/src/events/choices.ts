export const SESSION_EVENT_TYPES = ['SessionStarted', 'TrafficDelta', 'SessionClosed'] as const;
export type SessionEventType = (typeof SESSION_EVENT_TYPES)[number];

export const PROTOCOLS = ['tcp', 'udp'] as const;
export const COMMANDS = ['connect', 'bind', 'udp_associate'] as const;
export const AUTH_METHODS = ['none', 'password'] as const;
export const ACL_DECISIONS = ['allow', 'block'] as const;
