import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { canonicalIp } from '@sockscope/schemas/net';

/** Only literals come here; Node would put even those into its queue of lookups. */
function lookupLiteral(
  ip: string,
  _options: unknown,
  callback: (error: null, address: string, family: number) => void,
): void {
  callback(null, ip, isIPv6(ip) ? 6 : 4);
}

/** A socket of the family of `ip`, which need not be a name. */
export function makeSocket(ip: string): Socket {
  return isIPv6(ip)
    ? createSocket({ type: 'udp6', ipv6Only: true, lookup: lookupLiteral })
    : createSocket({ type: 'udp4', lookup: lookupLiteral });
}

/** Exclusive, because workers of node:cluster would share the socket otherwise. */
export function bindSocket(socket: Socket, ip: string, port: number): void {
  socket.bind({ address: ip, port, exclusive: true });
}

const UNSPECIFIED: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/**
 * The address that the kernel sends from towards `ip`: a socket that is bound to all addresses does
 * not have it, a connected one does. Nothing is sent. Null if there is no route to `ip`.
 */
export function localAddressTowards(ip: string, port: number): string | null {
  const probe = makeSocket(ip);
  probe.on('error', () => undefined);
  try {
    probe.connect(port, ip);
    // At once, because `ip` need not be looked up.
    const { address } = probe.address();
    return UNSPECIFIED.has(address) ? null : canonicalIp(address);
  } catch {
    return null;
  } finally {
    probe.close();
  }
}
