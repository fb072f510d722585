import { WEB_SESSION_MS } from './web-sessions.js';

/** How the session's cookie is called and bounded. The prefix `__Host-` needs https. */
export interface SessionCookie {
  read(header: string | undefined): string | undefined;
  /** The value of Set-Cookie that keeps a token. */
  keep(token: string): string;
  /** The value of Set-Cookie that forgets it. */
  readonly forget: string;
}

/** @param publicUrl where people reach the service; empty: not known, then it is taken for http. */
export function sessionCookie(publicUrl: string): SessionCookie {
  const isSecure = publicUrl.startsWith('https:');
  const name = isSecure ? '__Host-sockscope_session' : 'sockscope_session';
  const bounds = `Path=/; HttpOnly; SameSite=Lax${isSecure ? '; Secure' : ''}`;
  return {
    read: (header) =>
      header
        ?.split(';')
        .map((pair) => pair.trim())
        .find((pair) => pair.startsWith(`${name}=`))
        ?.slice(name.length + 1),
    keep: (token) => `${name}=${token}; Max-Age=${WEB_SESSION_MS / 1_000}; ${bounds}`,
    forget: `${name}=; Max-Age=0; ${bounds}`,
  };
}
