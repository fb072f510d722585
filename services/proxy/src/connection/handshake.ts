import type { AuthOutcome, Authenticator } from '../auth/auth.js';
import { proxyHeaderEnd, proxyHeaderSource } from '../listener/proxy-header.js';
import type { HeaderSource } from '../listener/proxy-header.js';
import type { CommandName } from '../policy/policy.js';
import {
  BAD_ADDRESS_TYPE,
  credentialsEnd,
  credentialsOf,
  greetingEnd,
  INCOMPLETE,
  offersMethod,
  requestEnd,
} from '../socks5/frames.js';
import { COMMAND, METHOD } from '../socks5/protocol.js';
import {
  METHOD_NONE,
  METHOD_PASSWORD,
  METHOD_UNACCEPTABLE,
  PASSWORD_ACCEPTED,
  PASSWORD_REFUSED,
} from '../socks5/replies.js';
import { targetOf } from '../socks5/target.js';
import type { Target } from '../socks5/target.js';
import type { HandshakeFailure } from './metrics.js';

/** Which methods the server takes: no authentication, username/password, or the client's choice. */
export type AuthPolicy = 'none' | 'password' | 'optional';

export interface HandshakeContext {
  readonly authPolicy: AuthPolicy;
  readonly authenticator: Pick<Authenticator, 'verify'>;
}

/** The connection that the handshake is of. */
export interface HandshakeOwner {
  readonly sourceIp: string;
  send(message: Buffer): void;
  /**
   * A load balancer sent the client's address; null if it named none. Returns false when the client
   * is refused for it; the owner has ended the connection then.
   */
  sourceNamed(source: HeaderSource | null): boolean;
  authenticated(user: string): void;
  /** @param rest the bytes that the client sent behind its request. */
  requested(command: CommandName, target: Target, rest: Buffer | null): void;
  /** Reading continues after it was stopped. */
  readOn(): void;
  /** There is no message that this client would understand. */
  failed(failure: HandshakeFailure): void;
  /** `message` is the last that this client is sent. */
  rejected(failure: HandshakeFailure, message: Buffer): void;
  /** The request is refused with the reply of the same name. */
  refused(failure: 'command_not_supported' | 'address_type_not_supported'): void;
}

/** The next message that the client must send. */
const STEP = {
  proxyHeader: 0,
  greeting: 1,
  credentials: 2,
  /** Nothing: the password is being checked. */
  verifying: 3,
  request: 4,
  over: 5,
} as const;
type Step = (typeof STEP)[keyof typeof STEP];

/** SOCKS5 (RFC 1928, 1929) up to the request, from bytes in any segments. */
export class Handshake {
  readonly #context: HandshakeContext;
  readonly #owner: HandshakeOwner;
  #step: Step;
  /** Bytes that no message has used up. */
  #pending: Buffer | null = null;
  /** Ends the check of the password. */
  #check: AbortController | null = null;

  /** @param hasProxyHeader whether a PROXY protocol header comes first. */
  constructor(context: HandshakeContext, owner: HandshakeOwner, hasProxyHeader: boolean) {
    this.#context = context;
    this.#owner = owner;
    this.#step = hasProxyHeader ? STEP.proxyHeader : STEP.greeting;
  }

  /** Whether bytes are wanted now. */
  get reads(): boolean {
    return this.#step !== STEP.verifying && this.#step !== STEP.over;
  }

  /** Ends it: the owner is not called any more. */
  cancel(): void {
    this.#step = STEP.over;
    this.#pending = null;
    this.#check?.abort();
  }

  /** Takes bytes that were read. `bytes` is copied if it must be kept. */
  take(bytes: Buffer): void {
    const all = this.#pending === null ? bytes : Buffer.concat([this.#pending, bytes]);
    // A password takes its time: bytes behind it wait.
    if (this.#step === STEP.verifying) this.#pending = copyFrom(all, 0);
    else this.#parse(all);
  }

  /** Acts on as many messages as are whole; a copy of the rest waits in `#pending`. */
  #parse(bytes: Buffer): void {
    let at = 0;
    while (this.reads) {
      const end = this.#messageEnd(bytes, at);
      if (end === INCOMPLETE) {
        this.#pending = copyFrom(bytes, at);
        return;
      }
      if (end < 0) {
        this.#refuseMessage(bytes, at, end);
        return;
      }
      // The bytes behind this message must be in place before the message is acted on.
      this.#pending = copyFrom(bytes, end);
      this.#takeMessage(bytes, at);
      at = end;
    }
  }

  #messageEnd(bytes: Buffer, at: number): number {
    switch (this.#step) {
      case STEP.proxyHeader:
        return proxyHeaderEnd(bytes);
      case STEP.greeting:
        return greetingEnd(bytes, at);
      case STEP.credentials:
        return credentialsEnd(bytes, at);
      default:
        return requestEnd(bytes, at);
    }
  }

  #takeMessage(bytes: Buffer, at: number): void {
    switch (this.#step) {
      case STEP.proxyHeader:
        if (this.#owner.sourceNamed(proxyHeaderSource(bytes))) this.#step = STEP.greeting;
        break;
      case STEP.greeting:
        this.#takeGreeting(bytes, at);
        break;
      case STEP.credentials:
        this.#takeCredentials(bytes, at);
        break;
      default:
        this.#takeRequest(bytes, at);
    }
  }

  #refuseMessage(bytes: Buffer, at: number, end: number): void {
    if (this.#step === STEP.proxyHeader) this.#owner.failed('bad_proxy_header');
    // Not SOCKS5, or not any more: there is no message that such a client would understand.
    else if (end !== BAD_ADDRESS_TYPE) this.#owner.failed('bad_version');
    else if (commandOf(bytes[at + 1]) === null) this.#owner.refused('command_not_supported');
    else this.#owner.refused('address_type_not_supported');
  }

  #takeGreeting(bytes: Buffer, at: number): void {
    const { authPolicy } = this.#context;
    if (authPolicy !== 'none' && offersMethod(bytes, at, METHOD.password)) {
      this.#step = STEP.credentials;
      this.#owner.send(METHOD_PASSWORD);
    } else if (authPolicy !== 'password' && offersMethod(bytes, at, METHOD.none)) {
      this.#step = STEP.request;
      this.#owner.send(METHOD_NONE);
    } else this.#owner.rejected('no_acceptable_method', METHOD_UNACCEPTABLE);
  }

  #takeCredentials(bytes: Buffer, at: number): void {
    this.#step = STEP.verifying;
    const { username, password } = credentialsOf(Buffer.from(bytes.subarray(at)), 0);
    this.#check = new AbortController();
    const { signal } = this.#check;
    this.#context.authenticator.verify(username, password, this.#owner.sourceIp, signal).then(
      (outcome) => {
        this.#verified(outcome);
      },
      () => {
        this.#verified({ ok: false, kind: 'wrong', retryAfterMs: 0 });
      },
    );
  }

  #verified(outcome: AuthOutcome): void {
    this.#check = null;
    if (this.#step !== STEP.verifying) return;
    if (!outcome.ok) {
      const kind = outcome.kind === 'throttled' ? 'auth_throttled' : 'auth_failed';
      this.#owner.rejected(kind, PASSWORD_REFUSED);
      return;
    }
    this.#owner.authenticated(outcome.user);
    this.#step = STEP.request;
    this.#owner.send(PASSWORD_ACCEPTED);
    if (this.#pending !== null) this.#parse(this.#pending);
    this.#owner.readOn();
  }

  #takeRequest(bytes: Buffer, at: number): void {
    const command = commandOf(bytes[at + 1]);
    if (command === null) {
      this.#owner.refused('command_not_supported');
      return;
    }
    const rest = this.#pending;
    this.cancel();
    this.#owner.requested(command, targetOf(bytes, at + 3), rest);
  }
}

/** The bytes behind `at`, in memory of their own; null if there are none. */
function copyFrom(bytes: Buffer, at: number): Buffer | null {
  return at === bytes.length ? null : Buffer.from(bytes.subarray(at));
}

function commandOf(code: number | undefined): CommandName | null {
  switch (code) {
    case COMMAND.connect:
      return 'connect';
    case COMMAND.bind:
      return 'bind';
    case COMMAND.udp_associate:
      return 'udp_associate';
    default:
      return null;
  }
}
