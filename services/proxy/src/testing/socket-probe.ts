import type { Socket } from 'node:net';
import { handleOf } from '../relay/handle.js';
import { LINUX, loadLibc } from '../relay/splice/libc.js';

const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SO_KEEPALIVE = 9;

/** Returns whether the kernel has an option of a connection set, in any process. */
export interface SocketProbe {
  isSet(): boolean;
  close(): void;
}

/** Whether small writes are sent at once. */
export const probeNoDelay = (socket: Socket): SocketProbe =>
  probe(socket, IPPROTO_TCP, TCP_NODELAY);
export const probeKeepalive = (socket: Socket): SocketProbe =>
  probe(socket, LINUX.SOL_SOCKET, SO_KEEPALIVE);

/** Linux only. */
function probe(socket: Socket, level: number, option: number): SocketProbe {
  const libc = loadLibc();
  const handle = handleOf(socket);
  if (handle === null) throw new TypeError('a socket without a handle');
  const fd = libc.fcntl(handle.fd, LINUX.F_DUPFD_CLOEXEC, 0);
  return {
    isSet() {
      const value = new Int32Array(1);
      const length = new Int32Array([value.byteLength]);
      const addresses = [libc.addressOf(value), libc.addressOf(length)] as const;
      if (libc.getsockopt(fd, level, option, ...addresses) !== 0) {
        throw new Error(`getsockopt: errno ${libc.errno()}`);
      }
      return value[0] !== 0;
    },
    close() {
      libc.close(fd);
    },
  };
}
