import { WEB_SESSION_MS } from './web-sessions.js';

/** One cookie of the service. */
export interface OwnCookie {
  read(header: string | undefined): string | undefined;
  /** The value of Set-Cookie that keeps a text. */
  keep(text: string): string;
  /** The value of Set-Cookie that forgets it. */
  readonly forget: string;
}

export interface Cookies {
  /** Token of a browser's session. */
  readonly session: OwnCookie;
  /** A sign-in at the OpenID provider that has begun. */
  readonly pending: OwnCookie;
}

/** A sign-in at the provider that takes longer must begin again. */
const SIGN_IN_MS = 600_000;

/** @param publicUrl the public URL of the service; empty: not known, then it is taken for http. */
export function createCookies(publicUrl: string): Cookies {
  const isSecure = publicUrl.startsWith('https:');
  return {
    session: ownCookie('sockscope_session', WEB_SESSION_MS, isSecure),
    pending: ownCookie('sockscope_sign_in', SIGN_IN_MS, isSecure),
  };
}

/** Lax, not Strict: the provider sends the browser back from another site. `__Host-` needs https. */
function ownCookie(plainName: string, lifetimeMs: number, isSecure: boolean): OwnCookie {
  const name = isSecure ? `__Host-${plainName}` : plainName;
  const bounds = `Path=/; HttpOnly; SameSite=Lax${isSecure ? '; Secure' : ''}`;
  return {
    read: (header) =>
      header
        ?.split(';')
        .map((pair) => pair.trim())
        .find((pair) => pair.startsWith(`${name}=`))
        ?.slice(name.length + 1),
    keep: (text) => `${name}=${text}; Max-Age=${lifetimeMs / 1_000}; ${bounds}`,
    forget: `${name}=; Max-Age=0; ${bounds}`,
  };
}
