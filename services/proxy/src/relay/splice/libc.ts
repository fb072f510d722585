import { createRequire } from 'node:module';
import { endianness } from 'node:os';
import type koffiModule from 'koffi';

/**
 * The calls of Linux's C library that the splice relay makes, each as in its manual page:
 * -1 is a failure whose number is in `errno`, if read at once. Memory is given by address.
 */
export interface Libc {
  splice(
    fdIn: number,
    offsetIn: number,
    fdOut: number,
    offsetOut: number,
    bytes: number,
    flags: number,
  ): number;
  recv(fd: number, address: number, bytes: number, flags: number): number;
  send(fd: number, address: number, bytes: number, flags: number): number;
  write(fd: number, address: number, bytes: number): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  pipe2(address: number, flags: number): number;
  eventfd(initial: number, flags: number): number;
  epoll_create1(flags: number): number;
  epoll_ctl(epoll: number, operation: number, fd: number, address: number): number;
  epoll_wait(epoll: number, address: number, count: number, timeoutMs: number): number;
  setsockopt(fd: number, level: number, name: number, address: number, bytes: number): number;
  getsockopt(fd: number, level: number, name: number, address: number, bytes: number): number;
  errno(): number;
  /** The address of a buffer, valid while the buffer is referenced. */
  addressOf(buffer: ArrayBufferView): number;
}

/** Constants of the Linux headers, the same on every architecture that is supported here. */
export const LINUX = {
  EAGAIN: 11,
  ECONNRESET: 104,
  ENOTCONN: 107,
  EPOLL_CLOEXEC: 0x80000,
  EPOLL_CTL_ADD: 1,
  EPOLLIN: 0x1,
  EPOLLPRI: 0x2,
  EPOLLOUT: 0x4,
  EPOLLERR: 0x8,
  EPOLLHUP: 0x10,
  EPOLLRDHUP: 0x2000,
  EPOLLET: 1 << 31,
  EFD_CLOEXEC: 0x80000,
  EFD_NONBLOCK: 0x800,
  F_DUPFD_CLOEXEC: 1030,
  F_SETPIPE_SZ: 1031,
  F_GETPIPE_SZ: 1032,
  MSG_PEEK: 0x2,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  O_CLOEXEC: 0x80000,
  O_NONBLOCK: 0x800,
  SHUT_WR: 1,
  SO_ERROR: 4,
  SO_LINGER: 13,
  SOL_SOCKET: 1,
  SPLICE_F_MOVE: 1,
  SPLICE_F_NONBLOCK: 2,
} as const;

/** Layout in 32-bit words: `struct epoll_event` is packed on x86 only. */
export const EPOLL_EVENT =
  process.arch === 'x64' ? { words: 3, dataWord: 1 } : { words: 4, dataWord: 2 };

const ARCHITECTURES: readonly string[] = ['x64', 'arm64', 'riscv64', 'loong64'];

/**
 * Binds the calls. Throws with a plain sentence if this machine has no splice(2) or the
 * foreign function interface cannot be loaded.
 */
export function loadLibc(): Libc {
  if (process.platform !== 'linux') {
    throw new Error(`splice needs Linux, and this is ${process.platform}`);
  }
  if (!ARCHITECTURES.includes(process.arch) || endianness() !== 'LE') {
    throw new Error(`splice is not supported on ${process.arch}`);
  }
  const koffi = createRequire(import.meta.url)('koffi') as typeof koffiModule;
  const lib = koffi.load(null);
  return {
    splice: lib.func('long splice(int, uintptr_t, int, uintptr_t, ulong, uint)'),
    recv: lib.func('long recv(int, uintptr_t, ulong, int)'),
    send: lib.func('long send(int, uintptr_t, ulong, int)'),
    write: lib.func('long write(int, uintptr_t, ulong)'),
    shutdown: lib.func('int shutdown(int, int)'),
    close: lib.func('int close(int)'),
    fcntl: lib.func('int fcntl(int, int, long)'),
    pipe2: lib.func('int pipe2(uintptr_t, int)'),
    eventfd: lib.func('int eventfd(uint, int)'),
    epoll_create1: lib.func('int epoll_create1(int)'),
    epoll_ctl: lib.func('int epoll_ctl(int, int, int, uintptr_t)'),
    epoll_wait: lib.func('int epoll_wait(int, uintptr_t, int, int)'),
    setsockopt: lib.func('int setsockopt(int, int, int, uintptr_t, uint)'),
    getsockopt: lib.func('int getsockopt(int, int, int, uintptr_t, uintptr_t)'),
    errno: () => koffi.errno(),
    addressOf: (buffer) => Number(koffi.address(buffer)),
  };
}
