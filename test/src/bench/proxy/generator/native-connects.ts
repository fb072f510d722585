import type { Libc } from './libc.js';
import type { Via } from './protocol.js';

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOL_IP = 0;
const IP_BIND_ADDRESS_NO_PORT = 24;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 0x1;
const EPOLLOUT = 0x4;
const EPOLLERR = 0x8;
const EPOLLHUP = 0x10;
const EPOLLRDHUP = 0x2000;
const EPOLLET = 1 << 31;
/** `struct epoll_event` in 32-bit words: packed on x86 alone. */
const EVENT = process.arch === 'x64' ? { words: 3, data: 1 } : { words: 4, data: 2 };
const MAX_EVENTS = 256;
const MAX_FDS = 65_536;
const BACKLOG = 4_096;
const ADDRESS_BYTES = 16;
const SCRATCH_BYTES = 4_096;
/** How long connections may take that are under way when the measurement ends. */
const TAIL_MS = 5_000;

/** The event that a client waits for. */
const WAITS = { nothing: 0, connected: 1, method: 2, reply: 3, echo: 4, end: 5 } as const;
const METHOD_REPLY_BYTES = 2;
const REPLY_BYTES = 10;

export interface NativeConnects {
  readonly atOnce: number;
  /** How many begin in a second; without it a client that is done begins again at once. */
  readonly perSecond?: number | undefined;
  readonly echoBytes: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
}

export interface NativeCount {
  /** Within the measurement, and in all. */
  readonly count: number;
  readonly total: number;
  readonly elapsedMs: number;
  readonly failures: number;
  /** Microseconds from the connect, or from its due time, to the last byte of the echo. */
  readonly latenciesUs: number[];
}

/** `struct sockaddr_in`. */
function socketAddress(host: string, port: number): Buffer {
  const address = Buffer.alloc(ADDRESS_BYTES);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  host.split('.').forEach((part, n) => {
    address[4 + n] = Number(part);
  });
  return address;
}

/**
 * Clients and their origin in one epoll loop without Node's sockets, so that the load costs a
 * fraction of a proxy's work for it. Each connects, asks the proxy for the origin, has some bytes
 * echoed, ends, and waits for the other side's end. Blocks until it is done.
 */
export function nativeConnects(libc: Libc, via: Via, job: NativeConnects): NativeCount {
  const epoll = libc.epoll_create1(0);
  const one = new Int32Array(EVENT.words);
  const oneAddress = libc.addressOf(one);
  const events = new Int32Array(MAX_EVENTS * EVENT.words);
  const eventsAddress = libc.addressOf(events);
  const scratch = Buffer.alloc(SCRATCH_BYTES);
  const scratchAddress = libc.addressOf(scratch);
  const on = new Int32Array([1]);
  const onAddress = libc.addressOf(on);
  const watch = (fd: number, bits: number): void => {
    one[0] = bits;
    one[EVENT.data] = fd;
    libc.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, oneAddress);
  };
  /** Keeps memory alive for as long as its address is in use. */
  const kept: Buffer[] = [];
  const addressOf = (buffer: Buffer): number => {
    kept.push(buffer);
    return libc.addressOf(buffer);
  };

  const listener = libc.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const bound = socketAddress('127.0.0.1', 0);
  const length = new Int32Array([ADDRESS_BYTES]);
  libc.bind(listener, addressOf(bound), ADDRESS_BYTES);
  libc.listen(listener, BACKLOG);
  libc.getsockname(listener, addressOf(bound), libc.addressOf(length));
  const port = bound.readUInt16BE(2);
  watch(listener, EPOLLIN);

  const target = addressOf(socketAddress(via?.host ?? '127.0.0.1', via?.port ?? port));
  const greeting = addressOf(Buffer.from([5, 1, 0]));
  const request = addressOf(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]));
  const payload = addressOf(Buffer.alloc(job.echoBytes, 0x62));
  // Addresses of their own, so that ports in TIME_WAIT never run out.
  const locals = Array.from({ length: job.atOnce }, (_, n) =>
    addressOf(socketAddress(`127.0.1.${(n % 250) + 1}`, 0)),
  );

  /** The lane of a client or -1, the event that it waits for, and the missing bytes, by descriptor. */
  const lane = new Int32Array(MAX_FDS).fill(-1);
  const waits = new Uint8Array(MAX_FDS);
  const missing = new Int32Array(MAX_FDS);
  const begunAtMs = new Float64Array(MAX_FDS);
  const latenciesUs: number[] = [];
  let total = 0;
  let failures = 0;
  let open = 0;
  let running = true;
  let isMeasuring = false;

  const send = (fd: number, address: number, bytes: number): void => {
    libc.send(fd, address, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
  };
  const begin = (n: number, dueAtMs = performance.now()): void => {
    const fd = libc.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) {
      failures += 1;
      return;
    }
    libc.setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, onAddress, 4);
    libc.bind(fd, locals[n] ?? 0, ADDRESS_BYTES);
    lane[fd] = n;
    begunAtMs[fd] = dueAtMs;
    waits[fd] = WAITS.connected;
    open += 1;
    libc.connect(fd, target, ADDRESS_BYTES);
    watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  };
  const finish = (fd: number, ok: boolean): void => {
    const n = lane[fd] ?? -1;
    lane[fd] = -1;
    waits[fd] = WAITS.nothing;
    libc.close(fd);
    open -= 1;
    if (ok) total += 1;
    else failures += 1;
    if (!running) return;
    if (job.perSecond === undefined) begin(n);
    else free.push(n);
  };
  const sendPayload = (fd: number): void => {
    send(fd, payload, job.echoBytes);
    waits[fd] = WAITS.echo;
    missing[fd] = job.echoBytes;
  };
  /** All bytes that a client waited for have arrived. */
  const advance = (fd: number): void => {
    switch (waits[fd]) {
      case WAITS.connected:
        if (via === null) {
          sendPayload(fd);
          break;
        }
        send(fd, greeting, 3);
        waits[fd] = WAITS.method;
        missing[fd] = METHOD_REPLY_BYTES;
        break;
      case WAITS.method:
        send(fd, request, 10);
        waits[fd] = WAITS.reply;
        missing[fd] = REPLY_BYTES;
        break;
      case WAITS.reply:
        if (scratch[1] === 0) sendPayload(fd);
        else finish(fd, false);
        break;
      case WAITS.echo:
        if (isMeasuring) latenciesUs.push((performance.now() - (begunAtMs[fd] ?? 0)) * 1_000);
        libc.shutdown(fd, SHUT_WR);
        waits[fd] = WAITS.end;
        break;
      default:
        break;
    }
  };
  const onClient = (fd: number, bits: number): void => {
    if (waits[fd] === WAITS.connected) {
      if ((bits & (EPOLLERR | EPOLLHUP)) !== 0) finish(fd, false);
      else if ((bits & EPOLLOUT) !== 0) advance(fd);
      return;
    }
    if ((bits & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) === 0) return;
    const bytes = libc.recv(fd, scratchAddress, SCRATCH_BYTES, MSG_DONTWAIT);
    if (bytes > 0) {
      const left = (missing[fd] ?? 0) - bytes;
      missing[fd] = left;
      if (left > 0) return;
      advance(fd);
      // The end may have come with the last bytes, and is announced only once.
      if ((bits & (EPOLLRDHUP | EPOLLHUP)) !== 0 && lane[fd] !== -1) onClient(fd, EPOLLIN);
    } else if (bytes === 0) finish(fd, waits[fd] === WAITS.end);
    else if ((bits & (EPOLLERR | EPOLLHUP)) !== 0) finish(fd, false);
  };
  const onOrigin = (fd: number): void => {
    const bytes = libc.recv(fd, scratchAddress, SCRATCH_BYTES, MSG_DONTWAIT);
    if (bytes > 0) send(fd, scratchAddress, bytes);
    else libc.close(fd);
  };
  const step = (timeoutMs: number): void => {
    const count = libc.epoll_wait(epoll, eventsAddress, MAX_EVENTS, timeoutMs);
    for (let n = 0; n < count; n++) {
      const at = n * EVENT.words;
      const fd = events[at + EVENT.data] ?? -1;
      if (fd === listener) {
        for (;;) {
          const accepted = libc.accept4(listener, 0, 0, SOCK_NONBLOCK);
          if (accepted < 0) break;
          watch(accepted, EPOLLIN);
        }
      } else if (lane[fd] === -1) onOrigin(fd);
      else onClient(fd, events[at] ?? 0);
    }
  };

  /** Lanes that are due for nothing; only if the pace is given. */
  const free = Array.from({ length: job.atOnce }, (_, n) => n);
  const pace = job.perSecond;
  const startedMs = performance.now();
  let begun = 0;
  /** Begins all that are due. One that finds no lane free begins late, and its latency counts that. */
  const beginDue = (perSecond: number): void => {
    for (;;) {
      const dueAtMs = startedMs + (begun / perSecond) * 1_000;
      if (dueAtMs > performance.now()) return;
      const n = free.pop();
      if (n === undefined) return;
      begun += 1;
      begin(n, dueAtMs);
    }
  };
  if (pace === undefined) for (const n of free) begin(n);
  const runFor = (ms: number): number => {
    const startMs = performance.now();
    while (performance.now() - startMs < ms) {
      if (pace !== undefined) beginDue(pace);
      step(pace === undefined ? 20 : 1);
    }
    return performance.now() - startMs;
  };
  runFor(job.warmUpMs);
  const before = total;
  isMeasuring = true;
  const elapsedMs = runFor(job.durationMs);
  isMeasuring = false;
  const count = total - before;
  running = false;
  const tailStartMs = performance.now();
  while (open > 0 && performance.now() - tailStartMs < TAIL_MS) step(20);
  failures += open;
  for (let fd = 0; fd < MAX_FDS; fd++) if (lane[fd] !== -1) libc.close(fd);
  libc.close(listener);
  libc.close(epoll);
  return { count, total, elapsedMs, failures, latenciesUs };
}
