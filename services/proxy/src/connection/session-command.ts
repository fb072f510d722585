import type { CloseReason } from '@sockscope/schemas';
import type { Session } from '../sessions/session.js';
import type { FailureName } from '../socks5/protocol.js';
import type { Target } from '../socks5/target.js';
import { refuse, replyOfTermination } from './command.js';
import type { Command, CommandConnection, CommandContext } from './command.js';

/** A command that reaches one destination: CONNECT and BIND. It has a session from the request until the relay takes over. */
export abstract class SessionCommand implements Command {
  protected readonly context: CommandContext;
  protected readonly connection: CommandConnection;
  protected readonly target: Target;
  /** Null when it was refused, has ended or was handed to the relay. */
  protected session: Session | null = null;

  constructor(context: CommandContext, connection: CommandConnection, target: Target) {
    this.context = context;
    this.connection = connection;
    this.target = target;
  }

  abstract begin(): void;

  /** Gives up reaching the destination. */
  protected abstract cancel(): void;

  /** Opens the session. Returns false when the client was refused. */
  protected open(command: 'connect' | 'bind', isEnabled: boolean): boolean {
    const { context, connection, target } = this;
    const session = context.gate.open({ client: connection.client, command, target, isEnabled });
    if (typeof session === 'string') {
      refuse(context, connection, session);
      return false;
    }
    this.session = session;
    session.terminate = (reason, errorCode) => {
      this.fail(reason, errorCode);
    };
    return true;
  }

  abandon(): void {
    this.#close('client_aborted', null);
  }

  end(reason: CloseReason): void {
    this.#close(reason, null);
  }

  fail(reason: CloseReason, errorCode: string | null): void {
    this.failWith(replyOfTermination(reason), reason, errorCode);
  }

  protected failWith(reply: FailureName, reason: CloseReason, errorCode: string | null): void {
    this.#close(reason, errorCode);
    this.connection.refuse(reply);
  }

  #close(reason: CloseReason, errorCode: string | null): void {
    this.cancel();
    const { session } = this;
    if (session === null) return;
    this.session = null;
    this.context.gate.close(session, this.connection.client, reason, errorCode);
  }
}
