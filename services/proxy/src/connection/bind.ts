import type { Socket } from 'node:net';
import type { CloseReason } from '@sockscope/schemas';
import { canonicalIp } from '@sockscope/schemas/net';
import type { Bind, BindFailure, BindOwner } from '../bind/binder.js';
import { decideFor } from '../policy/policy.js';
import { setAclInputs } from '../sessions/acl-inputs.js';
import type { Session } from '../sessions/session.js';
import type { FailureName } from '../socks5/protocol.js';
import type { Target } from '../socks5/target.js';
import { refuse, replyOfTermination } from './command.js';
import type { Command, CommandConnection, CommandContext } from './command.js';

/** BIND (RFC 1928, section 4): waits for the peer and hands both sockets to the relay. */
export class BindCommand implements Command, BindOwner {
  readonly #context: CommandContext;
  readonly #connection: CommandConnection;
  readonly #target: Target;
  #session: Session | null = null;
  #bind: Bind | null = null;
  /** The rule that admitted the peer. */
  #rule: string | null = null;

  constructor(context: CommandContext, connection: CommandConnection, target: Target) {
    this.#context = context;
    this.#connection = connection;
    this.#target = target;
  }

  begin(): void {
    const { gate, binder } = this.#context;
    const session = gate.open({
      client: this.#connection.client,
      command: 'bind',
      target: this.#target,
      isEnabled: binder.enabled,
    });
    if (typeof session === 'string') {
      refuse(this.#context, this.#connection, session);
      return;
    }
    this.#session = session;
    session.terminate = (reason, errorCode) => {
      this.fail(reason, errorCode);
    };
    this.#bind = binder.create(this);
    this.#bind.begin(this.#target, this.#connection.client.networks, this.#connection.localIp);
  }

  abandon(): void {
    this.#end('client_aborted', null);
  }

  end(reason: CloseReason): void {
    this.#end(reason, null);
  }

  fail(reason: CloseReason, errorCode: string | null): void {
    this.#fail(reason, errorCode, replyOfTermination(reason));
  }

  bound(ip: string, port: number): void {
    this.#connection.succeed(ip, port);
  }

  mayAccept(ip: string, port: number, searched: string | null): boolean {
    const { client } = this.#connection;
    const host = this.#peerHost(ip);
    const verdict = decideFor(this.#context.policy, client, 'bind', { host, ip, searched, port });
    if (this.#session !== null) setAclInputs(this.#session, { searchedName: searched });
    if (verdict.decision === 'block') return false;
    this.#rule = verdict.rule;
    return true;
  }

  /** A peer that was announced by name is one of its addresses, so rules for the name admit it. */
  #peerHost(ip: string): string {
    return this.#target.name ?? ip;
  }

  peerCame(peer: Socket, ip: string, port: number, waitedMs: number): void {
    this.#bind = null;
    const session = this.#session;
    if (session === null) {
      peer.destroy();
      return;
    }
    this.#context.descriptors.take();
    setAclInputs(session, { host: this.#peerHost(ip), port });
    session.connected(
      {
        dest_ip: ip,
        acl_rule_matched: this.#rule,
        egress_ip: canonicalIp(peer.localAddress ?? ''),
        egress_port: peer.localPort ?? null,
      },
      waitedMs,
    );
    this.#session = null;
    this.#connection.succeed(ip, port);
    this.#connection.relay(session, peer);
  }

  bindFailed(failure: BindFailure, errorCode: string | null, waitedMs: number): void {
    this.#bind = null;
    this.#session?.unreached(waitedMs);
    switch (failure) {
      case 'bind_peer_rejected':
        this.#fail(failure, errorCode, 'not_allowed');
        break;
      case 'bind_timeout':
      case 'dns_failed':
        this.#fail(failure, errorCode, 'host_unreachable');
        break;
      case 'connect_failed':
        this.#fail(failure, errorCode, 'general_failure');
        break;
    }
  }

  #fail(reason: CloseReason, errorCode: string | null, reply: FailureName): void {
    this.#end(reason, errorCode);
    this.#connection.refuse(reply);
  }

  #end(reason: CloseReason, errorCode: string | null): void {
    this.#bind?.cancel();
    this.#bind = null;
    const session = this.#session;
    if (session === null) return;
    this.#session = null;
    this.#context.gate.close(session, this.#connection.client, reason, errorCode);
  }
}
