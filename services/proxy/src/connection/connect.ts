import type { Socket } from 'node:net';
import { canonicalIp } from '@sockscope/schemas/net';
import type { AclVerdict } from '../acl/acl.js';
import type { Dial, DialFailure, DialOwner } from '../dial/dialer.js';
import { aclHostOf, decideFor } from '../policy/policy.js';
import { setAclInputs } from '../sessions/acl-inputs.js';
import { replyOfErrno } from '../socks5/replies.js';
import { SessionCommand } from './session-command.js';

/** CONNECT (RFC 1928, section 4): dials the destination and hands both sockets to the relay. */
export class ConnectCommand extends SessionCommand implements DialOwner {
  #dial: Dial | null = null;
  /** The last address of a name that was blocked. */
  #blockedIp = '';
  /** The rules that decided on addresses of a name; null for every other target. */
  #rules: Map<string, string | null> | null = null;
  #aclGeneration = 0;

  begin(): void {
    const { dialer, aclGeneration } = this.context;
    if (!this.open('connect', true)) return;
    this.#aclGeneration = aclGeneration();
    this.#dial = dialer.create(this);
    this.#dial.begin(this.target, this.connection.client.networks);
  }

  mayDial(ip: string, searched: string | null): boolean {
    // An address that was asked for as such was decided with the request.
    if (this.target.ip === ip) return true;
    if (this.session !== null) setAclInputs(this.session, { searchedName: searched });
    const verdict = this.#decide(ip);
    this.#rules ??= new Map();
    this.#rules.set(ip, verdict.rule);
    if (verdict.decision === 'allow') return true;
    this.#blockedIp = ip;
    return false;
  }

  #decide(ip: string): AclVerdict {
    return decideFor(this.context.policy, this.connection.client, 'connect', {
      host: aclHostOf(this.target),
      ip,
      searched: this.session?.aclInputs?.searchedName ?? null,
      port: this.target.port,
    });
  }

  dialFailed(failure: DialFailure, errorCode: string | null, tookMs: number): void {
    this.#dial = null;
    if (failure !== 'acl_rejected') this.session?.unreached(tookMs);
    switch (failure) {
      case 'acl_rejected':
        this.session?.blocked(this.#rules?.get(this.#blockedIp) ?? null, this.#blockedIp);
        this.failWith('not_allowed', failure, errorCode);
        break;
      case 'dns_failed':
      case 'connect_timeout':
        this.failWith('host_unreachable', failure, errorCode);
        break;
      case 'connect_failed':
        this.failWith(replyOfErrno(errorCode ?? ''), failure, errorCode);
        break;
    }
  }

  dialed(upstream: Socket, ip: string, connectMs: number): void {
    this.#dial = null;
    const session = this.session;
    if (session === null) {
      this.#discard(upstream);
      return;
    }
    let rule = this.#rules === null ? session.late.acl_rule_matched : (this.#rules.get(ip) ?? null);
    if (this.context.aclGeneration() !== this.#aclGeneration) {
      const verdict = this.#decide(ip);
      if (verdict.decision === 'block') {
        this.#discard(upstream);
        session.blocked(verdict.rule, ip);
        this.failWith('not_allowed', 'acl_rejected', null);
        return;
      }
      rule = verdict.rule;
    }
    const localIp = canonicalIp(upstream.localAddress ?? '');
    const localPort = upstream.localPort ?? null;
    session.connected(
      { dest_ip: ip, acl_rule_matched: rule, egress_ip: localIp, egress_port: localPort },
      connectMs,
    );
    this.session = null;
    this.connection.succeed(localIp ?? '0.0.0.0', localPort ?? 0);
    this.connection.relay(session, upstream);
  }

  #discard(upstream: Socket): void {
    upstream.destroy();
    this.context.descriptors.give();
  }

  protected cancel(): void {
    this.#dial?.cancel();
    this.#dial = null;
  }
}
