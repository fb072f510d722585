import { createRequire } from 'node:module';
import { arch, platform } from 'node:process';
import type koffiModule from 'koffi';

/** The calls of Linux's C library that the native load makes, as in their manual pages. */
export interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: number, bytes: number): number;
  listen(fd: number, backlog: number): number;
  getsockname(fd: number, address: number, bytes: number): number;
  connect(fd: number, address: number, bytes: number): number;
  accept4(fd: number, address: number, bytes: number, flags: number): number;
  setsockopt(fd: number, level: number, name: number, address: number, bytes: number): number;
  send(fd: number, address: number, bytes: number, flags: number): number;
  recv(fd: number, address: number, bytes: number, flags: number): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  epoll_create1(flags: number): number;
  epoll_ctl(epoll: number, operation: number, fd: number, address: number): number;
  epoll_wait(epoll: number, address: number, count: number, timeoutMs: number): number;
  addressOf(buffer: ArrayBufferView): number;
}

/** Null if this is not Linux, or the foreign function interface cannot be loaded. */
export function loadLibc(): Libc | null {
  if (platform !== 'linux' || (arch !== 'x64' && arch !== 'arm64')) return null;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof koffiModule;
    const lib = koffi.load(null);
    return {
      socket: lib.func('int socket(int, int, int)'),
      bind: lib.func('int bind(int, uintptr_t, uint)'),
      listen: lib.func('int listen(int, int)'),
      getsockname: lib.func('int getsockname(int, uintptr_t, uintptr_t)'),
      connect: lib.func('int connect(int, uintptr_t, uint)'),
      accept4: lib.func('int accept4(int, uintptr_t, uintptr_t, int)'),
      setsockopt: lib.func('int setsockopt(int, int, int, uintptr_t, uint)'),
      send: lib.func('long send(int, uintptr_t, ulong, int)'),
      recv: lib.func('long recv(int, uintptr_t, ulong, int)'),
      shutdown: lib.func('int shutdown(int, int)'),
      close: lib.func('int close(int)'),
      epoll_create1: lib.func('int epoll_create1(int)'),
      epoll_ctl: lib.func('int epoll_ctl(int, int, int, uintptr_t)'),
      epoll_wait: lib.func('int epoll_wait(int, uintptr_t, int, int)'),
      addressOf: (buffer) => Number(koffi.address(buffer)),
    };
  } catch {
    return null;
  }
}
