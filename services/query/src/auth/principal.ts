import { SCOPES } from '@sockscope/schemas/api';
import { ProblemError } from '../problems/problem.js';

export type Scope = (typeof SCOPES)[number];

/** The callers that a route serves. `untied`: a key that is tied to users finds no such route. */
export type Audience = 'everyone' | 'untied';

/** The caller, its scopes and its visible users. */
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

/** @throws ProblemError forbidden */
export function requireScope({ principal }: { readonly principal: Principal }, scope: Scope): void {
  if (mayDo(principal, scope)) return;
  throw new ProblemError('forbidden', `this needs the scope ${scope}`);
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
