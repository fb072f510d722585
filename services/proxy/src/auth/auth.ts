export type AuthOutcome =
  | { readonly ok: true; readonly user: string; readonly groups: readonly string[] }
  /** `retryAfterMs` is above 0 where the address is throttled: nothing was checked then. */
  | { readonly ok: false; readonly kind: 'wrong' | 'throttled'; readonly retryAfterMs: number };

/** Username/password of RFC 1929. Takes the same time for unknown users as for wrong passwords. */
export interface Authenticator {
  verify(username: Buffer, password: Buffer, sourceIp: string): Promise<AuthOutcome>;
  /** Groups of a user, empty where the user is unknown, for checking live sessions again. */
  groupsOf(user: string): readonly string[];
}
