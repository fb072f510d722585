import type { Socket } from 'node:net';
import type { CloseReason } from '@sockscope/schemas';
import { canonicalIp } from '@sockscope/schemas/net';
import type { AclVerdict } from '../acl/acl.js';
import type { Dial, DialFailure, DialOwner } from '../dial/dialer.js';
import { aclHostOf, decideFor } from '../policy/policy.js';
import { setAclInputs } from '../sessions/acl-inputs.js';
import type { Session } from '../sessions/session.js';
import type { FailureName } from '../socks5/protocol.js';
import { replyOfErrno } from '../socks5/replies.js';
import type { Target } from '../socks5/target.js';
import { refuse, replyOfTermination } from './command.js';
import type { Command, CommandConnection, CommandContext } from './command.js';

/** CONNECT (RFC 1928, section 4): dials the destination and hands both sockets to the relay. */
export class ConnectCommand implements Command, DialOwner {
  readonly #context: CommandContext;
  readonly #connection: CommandConnection;
  readonly #target: Target;
  #session: Session | null = null;
  #dial: Dial | null = null;
  /** The last address of a name that was blocked. */
  #blockedIp = '';
  /** The rules that decided on addresses of a name; null for every other target. */
  #rules: Map<string, string | null> | null = null;
  #aclGeneration = 0;

  constructor(context: CommandContext, connection: CommandConnection, target: Target) {
    this.#context = context;
    this.#connection = connection;
    this.#target = target;
  }

  begin(): void {
    const { gate, dialer, aclGeneration } = this.#context;
    const session = gate.open({
      client: this.#connection.client,
      command: 'connect',
      target: this.#target,
      isEnabled: true,
    });
    if (typeof session === 'string') {
      refuse(this.#context, this.#connection, session);
      return;
    }
    this.#session = session;
    session.terminate = (reason, errorCode) => {
      this.fail(reason, errorCode);
    };
    this.#aclGeneration = aclGeneration();
    this.#dial = dialer.create(this);
    this.#dial.begin(this.#target, this.#connection.client.networks);
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

  mayDial(ip: string, searched: string | null): boolean {
    // An address that was asked for as such was decided with the request.
    if (this.#target.ip === ip) return true;
    if (this.#session !== null) setAclInputs(this.#session, { searchedName: searched });
    const verdict = this.#decide(ip);
    this.#rules ??= new Map();
    this.#rules.set(ip, verdict.rule);
    if (verdict.decision === 'allow') return true;
    this.#blockedIp = ip;
    return false;
  }

  #decide(ip: string): AclVerdict {
    return decideFor(this.#context.policy, this.#connection.client, 'connect', {
      host: aclHostOf(this.#target),
      ip,
      searched: this.#session?.aclInputs?.searchedName ?? null,
      port: this.#target.port,
    });
  }

  dialFailed(failure: DialFailure, errorCode: string | null, tookMs: number): void {
    this.#dial = null;
    if (failure !== 'acl_rejected') this.#session?.unreached(tookMs);
    switch (failure) {
      case 'acl_rejected':
        this.#session?.blocked(this.#rules?.get(this.#blockedIp) ?? null, this.#blockedIp);
        this.#fail(failure, errorCode, 'not_allowed');
        break;
      case 'dns_failed':
      case 'connect_timeout':
        this.#fail(failure, errorCode, 'host_unreachable');
        break;
      case 'connect_failed':
        this.#fail(failure, errorCode, replyOfErrno(errorCode ?? ''));
        break;
    }
  }

  dialed(upstream: Socket, ip: string, connectMs: number): void {
    this.#dial = null;
    const session = this.#session;
    if (session === null) {
      this.#discard(upstream);
      return;
    }
    let rule =
      this.#rules === null ? session.header.acl_rule_matched : (this.#rules.get(ip) ?? null);
    if (this.#context.aclGeneration() !== this.#aclGeneration) {
      const verdict = this.#decide(ip);
      if (verdict.decision === 'block') {
        this.#discard(upstream);
        session.blocked(verdict.rule, ip);
        this.#fail('acl_rejected', null, 'not_allowed');
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
    this.#session = null;
    this.#connection.succeed(localIp ?? '0.0.0.0', localPort ?? 0);
    this.#connection.relay(session, upstream);
  }

  #discard(upstream: Socket): void {
    upstream.destroy();
    this.#context.descriptors.give();
  }

  #fail(reason: CloseReason, errorCode: string | null, reply: FailureName): void {
    this.#end(reason, errorCode);
    this.#connection.refuse(reply);
  }

  #end(reason: CloseReason, errorCode: string | null): void {
    this.#dial?.cancel();
    this.#dial = null;
    const session = this.#session;
    if (session === null) return;
    this.#session = null;
    this.#context.gate.close(session, this.#connection.client, reason, errorCode);
  }
}
