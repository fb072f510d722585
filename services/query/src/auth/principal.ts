import { SCOPES } from '@sockscope/schemas/api';

export type Scope = (typeof SCOPES)[number];

/** The caller, its scopes and what it may see. */
export interface Principal {
  /** Stable and without secrets: shown in the audit log. */
  readonly id: string;
  /** `local`: anybody, if no authentication is configured. */
  readonly kind: 'local' | 'key' | 'token' | 'account';
  readonly scopes: ReadonlySet<Scope>;
  /** The only users whose sessions it may see; null for all. */
  readonly users: readonly string[] | null;
  /** When it ends by itself, in milliseconds since 1970; null for never. */
  readonly expiresAtMs: number | null;
  /** Requests in a minute; null for the configured limit. */
  readonly ratePerMinute: number | null;
}

/** `admin` includes the others. */
export function mayDo(principal: Principal, scope: Scope): boolean {
  return principal.scopes.has(scope) || principal.scopes.has('admin');
}

/** Any caller of a service on loopback without authentication. */
export const LOCAL: Principal = {
  id: 'local',
  kind: 'local',
  scopes: new Set(SCOPES),
  users: null,
  expiresAtMs: null,
  ratePerMinute: null,
};

export function isScope(text: string): text is Scope {
  return SCOPES.some((scope) => scope === text);
}
