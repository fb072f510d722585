import { connect } from 'node:net';
import type { Socket } from 'node:net';

/** How long a client that behaves waits for any answer. */
const PATIENCE_MS = 15_000;
/** Address of the load balancer whose PROXY protocol headers the proxy trusts. */
export const BALANCER = '127.0.0.1';

/** The failure of a client, with its reason. */
class ClientError extends Error {}

/**
 * One SOCKS client. It comes from an address of 127.0.0.0/8, or from an IPv6 address by a PROXY
 * protocol header.
 */
export class SocksClient {
  readonly socket: Socket;
  readonly #patienceMs: number;
  #received = Buffer.alloc(0);
  #failure: string | null = null;
  #wake: () => void = () => undefined;

  constructor(port: number, source: string, patienceMs = PATIENCE_MS) {
    this.#patienceMs = patienceMs;
    const isIpv6 = source.includes(':');
    this.socket = connect({
      host: '127.0.0.1',
      port,
      localAddress: isIpv6 ? BALANCER : source,
      noDelay: true,
    });
    if (isIpv6) this.socket.write(`PROXY TCP6 ${source} ::1 40000 ${port}\r\n`);
    this.socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake();
    });
    for (const event of ['end', 'close', 'error']) {
      this.socket.on(event, () => {
        this.#failure ??= event;
        this.#wake();
      });
    }
  }

  /** Takes the next `length` bytes; fails if they do not arrive in time. */
  async read(length: number): Promise<Buffer> {
    const timer = setTimeout(() => {
      this.#failure ??= 'timeout';
      this.#wake();
    }, this.#patienceMs);
    try {
      while (this.#received.length < length) {
        if (this.#failure !== null) throw new ClientError(this.#failure);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
    const taken = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return taken;
  }

  /** Whether the user is let in. */
  async login(user: string, password: string): Promise<boolean> {
    this.socket.write(Buffer.from([5, 1, 2, 1, user.length]));
    this.socket.write(user);
    this.socket.write(Buffer.from([password.length]));
    this.socket.write(password);
    return (await this.read(4))[3] === 0;
  }

  /** The code of the reply to a CONNECT without a login. */
  async connect(host: string, port: number): Promise<number> {
    const request = Buffer.from([5, 1, 0, 5, 1, 0, 3, host.length]);
    const portBytes = Buffer.from([port >> 8, port & 255]);
    this.socket.write(Buffer.concat([request, Buffer.from(host), portBytes]));
    return (await this.read(4))[3] ?? -1;
  }

  destroy(): void {
    this.socket.destroy();
  }
}
