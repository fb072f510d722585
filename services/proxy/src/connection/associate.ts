import type { CloseReason } from '@sockscope/schemas';
import { replyOfErrno } from '../socks5/replies.js';
import type { Target } from '../socks5/target.js';
import type { Association, AssociationOwner } from '../udp/association.js';
import { refuse, replyOfTermination } from './command.js';
import type { Command, CommandConnection, CommandContext } from './command.js';

/** Stands for the destinations of an association before its first datagram. */
const UNKNOWN_DESTINATION: Target = { host: '0.0.0.0', ip: '0.0.0.0', name: null, port: 0 };

/**
 * UDP ASSOCIATE (RFC 1928, section 4): the association lives as long as this connection. The
 * address in the request is where the client will send from, not a destination: each destination is
 * a session of its own. Only a request that cannot be granted is one itself.
 */
export class AssociateCommand implements Command, AssociationOwner {
  readonly #context: CommandContext;
  readonly #connection: CommandConnection;
  readonly #announced: Target;
  #association: Association | null = null;

  constructor(context: CommandContext, connection: CommandConnection, announced: Target) {
    this.#context = context;
    this.#connection = connection;
    this.#announced = announced;
  }

  begin(): void {
    const { gate, associations } = this.#context;
    const refusal = gate.enter({
      client: this.#connection.client,
      command: 'udp_associate',
      target: UNKNOWN_DESTINATION,
      isEnabled: associations.enabled,
    });
    if (refusal !== null) {
      refuse(this.#context, this.#connection, refusal);
      return;
    }
    this.#association = associations.create(this, this.#connection.client);
    this.#association.begin(this.#announced, this.#connection.localIp);
  }

  abandon(): void {
    this.end('association_closed');
  }

  end(reason: CloseReason): void {
    const association = this.#association;
    if (association === null) return;
    this.#association = null;
    association.end(reason);
    this.#context.gate.leave(this.#connection.client);
  }

  fail(reason: CloseReason): void {
    this.end(reason);
    this.#connection.refuse(replyOfTermination(reason));
  }

  associated(ip: string, port: number): void {
    this.#connection.succeed(ip, port);
  }

  associationFailed(errorCode: string): void {
    this.end('internal_error');
    this.#connection.refuse(replyOfErrno(errorCode));
  }

  associationOver(reason: 'idle_timeout' | 'acl_revoked'): void {
    this.end(reason);
    this.#connection.destroy();
  }
}
