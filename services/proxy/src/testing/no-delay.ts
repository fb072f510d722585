import type { Socket } from 'node:net';
import { handleOf } from '../relay/handle.js';
import { LINUX, loadLibc } from '../relay/splice/libc.js';

const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;

/** Tells whether the kernel sends small writes of a connection at once, whoever holds it by then. */
export interface NoDelayProbe {
  isSet(): boolean;
  close(): void;
}

/** Linux only. */
export function probeNoDelay(socket: Socket): NoDelayProbe {
  const libc = loadLibc();
  const handle = handleOf(socket);
  if (handle === null) throw new TypeError('a socket without a handle');
  const fd = libc.fcntl(handle.fd, LINUX.F_DUPFD_CLOEXEC, 0);
  return {
    isSet() {
      const value = new Int32Array(1);
      const length = new Int32Array([value.byteLength]);
      const addresses = [libc.addressOf(value), libc.addressOf(length)] as const;
      if (libc.getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, ...addresses) !== 0) {
        throw new Error(`getsockopt: errno ${libc.errno()}`);
      }
      return value[0] !== 0;
    },
    close() {
      libc.close(fd);
    },
  };
}
