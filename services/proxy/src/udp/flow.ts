import type { CloseReason } from '@sockscope/schemas';
import type { DeadlineNode, DeadlineQueue } from '../collections/deadline-queue.js';
import type { ResolveWaiter } from '../dns/lookup.js';
import type { Resolution } from '../dns/resolver.js';
import { decideFor } from '../policy/policy.js';
import { setAclInputs } from '../sessions/acl-inputs.js';
import type { Session } from '../sessions/session.js';
import { udpHeader } from '../socks5/replies.js';
import type { Target } from '../socks5/target.js';
import type { Association } from './association.js';
import { localAddressTowards } from './sockets.js';

/** Idle timeouts after the client's last datagram during which answers alone keep a session. */
const CLIENT_SILENCE_TIMEOUTS = 5;
/** Datagrams, and bytes of them, that wait while a name is resolved. */
const MAX_WAITING = 16;
const MAX_WAITING_BYTES = 64 * 1024;
/**
 * The kernel's answers to a datagram that has no way to its address, as to IPv6 on a machine without
 * it: no route, no such family, a link-local address (EINVAL), a route or a filter that refuses.
 */
const UNREACHABLE_CODES: ReadonlySet<string> = new Set([
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
  'EINVAL',
  'EACCES',
  'EPERM',
]);
/** One destination of an association. */
export class Flow implements DeadlineNode, ResolveWaiter {
  deadlineQueue: DeadlineQueue | null = null;
  deadlineMs = 0;
  deadlinePrev: DeadlineNode | null = null;
  deadlineNext: DeadlineNode | null = null;
  readonly key: string;
  /** Address and port that answers come from; empty while it is not known. */
  remote = '';
  readonly #association: Association;
  readonly #target: Target;
  #ip: string | null = null;
  /** Addresses of the name that were not tried yet. */
  #addresses: readonly string[] = [];
  /** Null if nothing is passed on, because the destination was refused recently. */
  #session: Session | null = null;
  #waiting: Buffer[] | null = null;
  #waitingBytes = 0;
  #resolution: Resolution | null = null;
  #header: Buffer = Buffer.alloc(0);
  readonly #sent: (error: Error | null, bytes: number) => void;
  readonly #answered: (error: Error | null, bytes: number) => void;
  readonly #beganMs = performance.now();
  /** When the client last sent something. */
  #sentAtMs = performance.now();

  constructor(association: Association, key: string, target: Target) {
    this.#association = association;
    this.key = key;
    this.#target = target;
    const { dropped } = association.context.metrics;
    this.#sent = (error, bytes) => {
      const session = this.#session;
      if (error !== null) dropped.add('send_failed');
      else if (session !== null) {
        session.bytesSent += bytes;
        session.packetsSent += 1;
      }
    };
    this.#answered = (error, bytes) => {
      const session = this.#session;
      if (error !== null) dropped.add('send_failed');
      else if (session !== null) {
        session.bytesReceived += bytes - this.#header.length;
        session.packetsReceived += 1;
      }
    };
  }

  /** Opens the session, refused or not. False if not even that is possible now. */
  open(): boolean {
    const { client, context } = this.#association;
    const session = context.gate.open({
      client,
      command: 'udp_associate',
      target: this.#target,
      isEnabled: true,
    });
    if (session === 'sink_refused') return false;
    if (typeof session === 'string') return true;
    this.#session = session;
    session.terminate = (reason, errorCode) => {
      this.close(reason, errorCode);
      this.#association.forget(this);
    };
    return true;
  }

  /** Starts to find the destination's address. */
  begin(): void {
    this.#association.context.flowTimeouts.add(this);
    if (this.#session === null) return;
    const { ip, name } = this.#target;
    if (ip !== null) this.#reach(ip, this.#session.late.acl_rule_matched);
    else if (name === null) this.#refuse('dns_failed', 'EBADNAME');
    else {
      this.#waiting = [];
      const { client, context } = this.#association;
      this.#resolution = context.resolver.resolve(name, client.networks, this);
    }
  }

  resolved(addresses: readonly string[], searched: string | null): void {
    if (this.#session === null) return;
    this.#addresses = addresses;
    setAclInputs(this.#session, { searchedName: searched });
    this.#reachNext(null);
  }

  /**
   * Continues with the next address that the rules allow. Without another address, the session ends.
   *
   * @param failure why the address before was not reached; null if there was none.
   */
  #reachNext(failure: string | null): void {
    const { name, port } = this.#target;
    const { client, context } = this.#association;
    let blocked: { readonly ip: string; readonly rule: string | null } | null = null;
    for (;;) {
      const [ip, ...others] = this.#addresses;
      if (ip === undefined) break;
      this.#addresses = others;
      const verdict = decideFor(context.policy, client, 'udp_associate', {
        host: name ?? ip,
        ip,
        searched: this.#session?.aclInputs?.searchedName ?? null,
        port,
      });
      if (verdict.decision === 'allow') {
        this.#reach(ip, verdict.rule);
        return;
      }
      blocked = { ip, rule: verdict.rule };
    }
    if (failure !== null) {
      this.#session?.unreached(Math.round(performance.now() - this.#beganMs));
      this.#refuse('connect_failed', failure);
      return;
    }
    if (blocked !== null) this.#session?.blocked(blocked.rule, blocked.ip);
    this.#refuse('acl_rejected', null);
  }

  resolveFailed(code: string): void {
    this.#session?.unreached(Math.round(performance.now() - this.#beganMs));
    this.#refuse('dns_failed', code);
  }

  #reach(ip: string, rule: string | null): void {
    this.#ip = ip;
    this.remote = remoteKey(ip, this.#target.port);
    this.#header = udpHeader(ip, this.#target.port);
    const socket = this.#association.outerFor(ip);
    this.#session?.connected(
      {
        dest_ip: ip,
        acl_rule_matched: rule,
        egress_ip: localAddressTowards(ip, this.#target.port),
        egress_port: typeof socket === 'string' ? null : socket.address().port,
      },
      Math.round(performance.now() - this.#beganMs),
    );
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const payload of waiting) this.send(payload);
  }

  /** Ends the session and continues to drop, so that a client that repeats itself makes one session. */
  #refuse(reason: CloseReason, errorCode: string | null): void {
    this.#endSession(reason, errorCode);
    for (const _ of this.#waiting ?? []) {
      this.#association.context.metrics.dropped.add('refused_destination');
    }
    this.#waiting = null;
  }

  /** Passes a datagram of the client on. */
  send(payload: Buffer): void {
    const { config, flowTimeouts, metrics } = this.#association.context;
    if (this.#session === null) {
      metrics.dropped.add('refused_destination');
      return;
    }
    flowTimeouts.add(this);
    this.#sentAtMs = performance.now();
    if (this.#waiting !== null) {
      const bytes = this.#waitingBytes + payload.length;
      if (this.#waiting.length >= MAX_WAITING || bytes > MAX_WAITING_BYTES) {
        metrics.dropped.add('resolving');
        return;
      }
      this.#waitingBytes = bytes;
      this.#waiting.push(payload);
      return;
    }
    const ip = this.#ip ?? '';
    const socket = this.#association.outerFor(ip);
    if (typeof socket === 'string') {
      this.#unreachable(ip, socket, payload);
      return;
    }
    if (socket.getSendQueueSize() > config.backlog_bytes) {
      metrics.dropped.add('backlog');
      return;
    }
    this.#association.claim(this);
    const hasSent = this.#session.packetsSent > 0;
    try {
      socket.send(payload, this.#target.port, ip, hasSent ? this.#sent : this.#tried(ip, payload));
    } catch {
      // Port 0, which dgram refuses before the kernel could.
      metrics.dropped.add('send_failed');
    }
  }

  /** The result of a datagram; the address may be unreachable from here. */
  #tried(
    ip: string,
    payload: Buffer,
  ): (error: NodeJS.ErrnoException | null, bytes: number) => void {
    return (error, bytes) => {
      const code = error?.code ?? '';
      const isFirst = this.#session !== null && this.#session.packetsSent === 0;
      if (isFirst && UNREACHABLE_CODES.has(code)) this.#unreachable(ip, code, payload);
      else this.#sent(error, bytes);
    };
  }

  /** Nothing leaves this machine for `ip`: tries the name's next address, with the same datagram. */
  #unreachable(ip: string, code: string, payload: Buffer): void {
    // The datagram before may have moved to the next one already.
    if (ip === this.#ip) {
      this.#association.unclaim(this);
      this.#reachNext(code);
    }
    if (this.#session === null) this.#association.context.metrics.dropped.add('send_failed');
    else this.send(payload);
  }

  /** Passes an answer on to the client. */
  receive(payload: Buffer): void {
    const { config, flowTimeouts } = this.#association.context;
    // A client that has vanished must not be kept by a destination that continues to send.
    const silentMs = performance.now() - this.#sentAtMs;
    if (silentMs < CLIENT_SILENCE_TIMEOUTS * config.idle_timeout_ms) flowTimeouts.add(this);
    this.#association.answer([this.#header, payload], this.#answered);
  }

  onDeadline(): void {
    this.close('idle_timeout', null);
    this.#association.forget(this);
  }

  close(reason: CloseReason, errorCode: string | null): void {
    this.#association.context.flowTimeouts.remove(this);
    this.#waiting = null;
    this.#endSession(reason, errorCode);
  }

  #endSession(reason: CloseReason, errorCode: string | null): void {
    const session = this.#session;
    if (session === null) return;
    this.#session = null;
    this.#resolution?.leave(this);
    this.#resolution = null;
    const { client, context } = this.#association;
    context.gate.close(session, client, reason, errorCode);
  }
}

/** The key by which answers find their flow. */
export function remoteKey(ip: string, port: number): string {
  return `${ip} ${port}`;
}
