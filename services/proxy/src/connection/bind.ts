import type { Socket } from 'node:net';
import { canonicalIp } from '@sockscope/schemas/net';
import type { Bind, BindFailure, BindOwner } from '../bind/binder.js';
import { decideFor } from '../policy/policy.js';
import { setAclInputs } from '../sessions/acl-inputs.js';
import { SessionCommand } from './session-command.js';

/** BIND (RFC 1928, section 4): waits for the peer and hands both sockets to the relay. */
export class BindCommand extends SessionCommand implements BindOwner {
  #bind: Bind | null = null;
  /** The rule that admitted the peer. */
  #rule: string | null = null;

  begin(): void {
    const { binder } = this.context;
    if (!this.open('bind', binder.enabled)) return;
    this.#bind = binder.create(this);
    this.#bind.begin(this.target, this.connection.client.networks, this.connection.localIp);
  }

  bound(ip: string, port: number): void {
    this.connection.succeed(ip, port);
  }

  mayAccept(ip: string, port: number, searched: string | null): boolean {
    const { client } = this.connection;
    const host = this.#peerHost(ip);
    const verdict = decideFor(this.context.policy, client, 'bind', { host, ip, searched, port });
    if (this.session !== null) setAclInputs(this.session, { searchedName: searched });
    if (verdict.decision === 'block') return false;
    this.#rule = verdict.rule;
    return true;
  }

  /** A peer that was announced by name is one of its addresses, so rules for the name admit it. */
  #peerHost(ip: string): string {
    return this.target.name ?? ip;
  }

  peerCame(peer: Socket, ip: string, port: number, waitedMs: number): void {
    this.#bind = null;
    const session = this.session;
    if (session === null) {
      peer.destroy();
      return;
    }
    this.context.descriptors.take();
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
    this.session = null;
    this.connection.succeed(ip, port);
    this.connection.relay(session, peer);
  }

  bindFailed(failure: BindFailure, errorCode: string | null, waitedMs: number): void {
    this.#bind = null;
    this.session?.unreached(waitedMs);
    switch (failure) {
      case 'bind_peer_rejected':
        this.failWith('not_allowed', failure, errorCode);
        break;
      case 'bind_timeout':
      case 'dns_failed':
        this.failWith('host_unreachable', failure, errorCode);
        break;
      case 'connect_failed':
        this.failWith('general_failure', failure, errorCode);
        break;
    }
  }

  protected cancel(): void {
    this.#bind?.cancel();
    this.#bind = null;
  }
}
