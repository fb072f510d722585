import { createHash, createHmac, randomBytes } from 'node:crypto';
import type { CheckResult, Logger, Registry } from '@sockscope/runtime';
import { LRUCache } from 'lru-cache';
import { networksOf } from '../limits/source.js';
import { createWatchedFile } from '../policy-file/watched-file.js';
import type { LoadResult, WatchedFile } from '../policy-file/watched-file.js';
import type { AuthConfig } from './config.js';
import { HashQueue } from './hash-queue.js';
import type { HashOutcome } from './hash-queue.js';
import { createAuthMetrics } from './metrics.js';
import { DEFAULT_COST, passwordMatches } from './password.js';
import type { PasswordHash } from './password.js';
import { Throttle } from './throttle.js';
import { parseUsersFile, USERS_FILE_LIMITS } from './users-file.js';
import type { User } from './users-file.js';

export type AuthOutcome =
  | { readonly ok: true; readonly user: string }
  /** `retryAfterMs` is above 0 if the address is throttled; then nothing was checked. */
  | { readonly ok: false; readonly kind: 'wrong' | 'throttled'; readonly retryAfterMs: number };

/** Username/password of RFC 1929. Takes the same time for unknown users as for wrong passwords. */
export interface Authenticator {
  /** @param signal aborts when the client has gone: then nothing is hashed for it any more. */
  verify(
    username: Buffer,
    password: Buffer,
    sourceIp: string,
    signal?: AbortSignal,
  ): Promise<AuthOutcome>;
  /** Groups of a user; empty if the user is unknown. Called for every decision. */
  groupsOf(user: string): readonly string[];
}

export interface ManagedAuthenticator extends Authenticator {
  /** Whether there is a users file, so that clients must authenticate. */
  readonly enabled: boolean;
  /** Whether the user still exists: asked with every decision. */
  knows(user: string): boolean;
  /** Calls back after other users are in force. */
  onChange(listener: () => void): void;
  /** Loads the file. @throws PolicyFileError, or the error of reading it. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Takes the file in again, as on SIGHUP. An invalid one keeps the users before. */
  reload(): Promise<LoadResult>;
  /** Not ok while the file in place was rejected. */
  check(): CheckResult;
}

const SETTLE_MS = 100;
const BUSY_RETRY_MS = 1_000;
const DEADLINE_MS = 10_000;
/** Time in which one failure is forgotten: of a user at an address, and of an address as a whole. */
const PAIR_DECAY_MS = 900_000;
const ADDRESS_DECAY_MS = 60_000;
/** How long after a login from an address its user does not wait there for the failures of others. */
const PROVEN_MS = 86_400_000;

interface Remembered {
  readonly user: string;
  readonly untilMs: number;
}

/** The last login of a user from one address. */
interface Proven {
  readonly digest: string;
  readonly untilMs: number;
}

/** The origin of a login, and the keys under which its failures are counted. */
interface Login {
  /** Digest of the credentials. */
  readonly digest: string;
  /** Undefined if there is no such user. */
  readonly user: User | undefined;
  readonly username: Buffer;
  readonly password: Buffer;
  readonly origin: Origin;
}

interface Origin {
  /** Networks from the widest to the source itself. */
  readonly networks: readonly string[];
  /** The source, or source and user if that pair counts as a source of its own. */
  readonly address: string;
  /** Source and user. */
  readonly pair: string;
  readonly isProven: boolean;
}

/** Free failures of a network wider than a source, as a multiple of a source's. */
const NETWORK_FREE_FACTOR = 4;

function decodeUtf8(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** Users of one file, kept current. Without a file nobody can log in, and `enabled` is false. */
export function createAuthenticator(
  config: AuthConfig,
  deps: {
    readonly logger: Logger;
    readonly metrics: Registry;
    readonly now?: () => number;
    /** How long a client waits for the answer, in milliseconds. */
    readonly deadlineMs?: number;
  },
): ManagedAuthenticator {
  const { logger } = deps;
  // Not the clock on the wall: setting it would end delays, or make them last.
  const now = deps.now ?? (() => performance.now());
  const queue = new HashQueue({
    concurrency: config.hash_concurrency,
    max_waiting: config.hash_queue,
    deadline_ms: deps.deadlineMs ?? DEADLINE_MS,
  });
  const metrics = createAuthMetrics(deps.metrics, () => queue.waiting);
  const delays = {
    base_ms: config.base_delay_ms,
    max_ms: config.max_delay_ms,
    entries: config.throttle_entries,
  };
  // Three counts: guessing one user's password slows down that pair soon, so that one client with
  // an old password does not lock out all others behind the same address; guessing many users'
  // slows down the address; guessing from many IPv6 /64s slows down their /56 and /48.
  const pairs = new Throttle({ ...delays, free: config.free_failures, decay_ms: PAIR_DECAY_MS });
  const addresses = new Throttle({
    ...delays,
    free: config.free_failures_per_address,
    decay_ms: ADDRESS_DECAY_MS,
  });
  const wideNetworks = new Throttle({
    ...delays,
    free: config.free_failures_per_address * NETWORK_FREE_FACTOR,
    decay_ms: ADDRESS_DECAY_MS / NETWORK_FREE_FACTOR,
  });
  // Digests under a key that exists only in this process: a memory dump holds no passwords.
  const digestKey = randomBytes(32);
  const remembered = new LRUCache<string, Remembered>({ max: Math.max(1, config.cache_entries) });
  // By address and user. A changed users file does not empty it: the login is checked all the same.
  const proven = new LRUCache<string, Proven>({ max: Math.max(1, config.cache_entries) });
  const listeners: (() => void)[] = [];
  let users: ReadonlyMap<string, User> = new Map();
  let userList: readonly User[] = [];
  let rejection: string | null = null;

  function digestOf(username: Buffer, password: Buffer): string {
    return createHmac('sha256', digestKey)
      .update(Buffer.of(username.length))
      .update(username)
      .update(password)
      .digest('base64');
  }

  /**
   * The hash for the password of an unknown user: parameters of a user chosen by the name,
   * so that if costs differ, an unknown name does not stand out by its time either.
   */
  function decoyFor(username: Buffer): PasswordHash {
    const salt = createHash('sha256').update(username).digest();
    const model = userList[userList.length === 0 ? 0 : salt.readUInt32BE() % userList.length];
    return { cost: model?.hash.cost ?? DEFAULT_COST, salt, key: Buffer.alloc(32) };
  }

  function throttled(retryAfterMs: number): AuthOutcome {
    return { ok: false, kind: 'throttled', retryAfterMs };
  }

  function prove(pair: string, digest: string): void {
    proven.set(pair, { digest, untilMs: now() + PROVEN_MS });
  }

  /**
   * Whether a login is checked although its address must wait, because it succeeded from there
   * recently. It then counts as an address of its own, so that guesses at it have their limit too,
   * which no right login in between takes away. A wrong one is refused unchecked like any other. It
   * leaves no trace that reveals earlier logins.
   */
  function isExempt(pair: string, digest: string): boolean {
    const known = proven.get(pair);
    if (known === undefined || known.untilMs <= now() || addresses.waitMs(pair, now()) > 0) {
      return false;
    }
    if (known.digest === digest) return true;
    addresses.fail(pair, now());
    return false;
  }

  /** Counts a login as failed before it is checked, so that a thousand checks at once are not free. */
  function countFailure({ networks, pair, address }: Origin): void {
    pairs.fail(pair, now());
    addresses.fail(address, now());
    for (const network of networks.slice(0, -1)) wideNetworks.fail(network, now());
  }

  function takeFailureBack({ networks, address }: Origin): void {
    addresses.succeed(address, now());
    for (const network of networks.slice(0, -1)) wideNetworks.succeed(network, now());
  }

  async function hash({ digest, user, username, password, origin }: Login): Promise<boolean> {
    const startedMs = performance.now();
    const matches = await passwordMatches(password, user?.hash ?? decoyFor(username));
    metrics.hashed((performance.now() - startedMs) / 1_000);
    if (!matches || user === undefined) return false;
    pairs.forget(origin.pair);
    takeFailureBack(origin);
    // The users may have been replaced meanwhile: this proves something only of the same hash.
    if (users.get(user.name)?.hash.key.equals(user.hash.key) !== true) return false;
    if (config.cache_entries > 0) {
      remembered.set(digest, { user: user.name, untilMs: now() + config.cache_ttl_ms });
    }
    return true;
  }

  /** One hash for all logins with the same credentials that wait for it. */
  async function check(login: Login, signal: AbortSignal | undefined): Promise<HashOutcome> {
    const { digest, origin } = login;
    const isFirst = !queue.has(digest);
    if (isFirst) countFailure(origin);
    const job = {
      key: digest,
      networks: origin.networks,
      isProven: origin.isProven,
      hash: () => hash(login),
    };
    const outcome = await queue.run(job, signal);
    if (isFirst && (outcome === 'busy' || outcome === 'left')) {
      pairs.succeed(origin.pair, now());
      takeFailureBack(origin);
    }
    return outcome;
  }

  function onLoad(result: LoadResult): void {
    if (!result.ok) {
      rejection = result.error.message;
      metrics.rejected();
      logger.error(
        { err: result.error },
        'the users file is invalid; the former users stay in force',
      );
      return;
    }
    logger.info({ file: config.users_file, users: users.size }, 'users reloaded');
    for (const listener of listeners) listener();
  }

  const file: WatchedFile | null =
    config.users_file === ''
      ? null
      : createWatchedFile(
          {
            path: config.users_file,
            interval_ms: config.reload_interval_ms,
            settle_ms: SETTLE_MS,
            max_bytes: USERS_FILE_LIMITS.file_bytes,
          },
          {
            onContent: (text) => {
              users = parseUsersFile(config.users_file, text);
              userList = [...users.values()];
              remembered.clear();
              queue.forget();
              rejection = null;
              metrics.loaded(users.size);
            },
            onLoad,
          },
        );

  return {
    enabled: file !== null,
    groupsOf: (user) => users.get(user)?.groups ?? [],
    knows: (user) => users.has(user),
    onChange(listener) {
      listeners.push(listener);
    },
    async verify(username, password, sourceIp, signal) {
      const networks = networksOf(sourceIp);
      const address = networks.at(-1) ?? sourceIp;
      const pair = `${address} ${username.toString('base64')}`;
      const digest = digestOf(username, password);
      const pairWaitMs = pairs.waitMs(pair, now());
      const addressWaitMs = Math.max(
        addresses.waitMs(address, now()),
        ...networks.slice(0, -1).map((network) => wideNetworks.waitMs(network, now())),
      );
      const mustWait = pairWaitMs > 0 || (addressWaitMs > 0 && !isExempt(pair, digest));
      if (mustWait) {
        metrics.attempt('throttled');
        return throttled(Math.max(pairWaitMs, addressWaitMs));
      }
      const known = remembered.get(digest);
      if (known !== undefined && known.untilMs > now()) {
        pairs.forget(pair);
        prove(pair, digest);
        metrics.attempt('remembered');
        return { ok: true, user: known.user };
      }
      const name = decodeUtf8(username);
      const user = name === null ? undefined : users.get(name);
      const origin: Origin = {
        networks,
        address: addressWaitMs > 0 ? pair : address,
        pair,
        isProven: (proven.get(pair)?.untilMs ?? 0) > now(),
      };
      const outcome = await check({ digest, user, username, password, origin }, signal);
      if (outcome === 'busy' || outcome === 'left') {
        metrics.attempt(outcome);
        return throttled(BUSY_RETRY_MS);
      }
      if (outcome === 'wrong' || user === undefined) {
        metrics.attempt('wrong');
        return { ok: false, kind: 'wrong', retryAfterMs: 0 };
      }
      prove(pair, digest);
      metrics.attempt('verified');
      return { ok: true, user: user.name };
    },
    async start() {
      await file?.start();
    },
    async stop() {
      await file?.stop();
    },
    async reload() {
      return file === null ? { ok: true, changed: false } : await file.reload();
    },
    check: () => (rejection === null ? { ok: true } : { ok: false, detail: rejection }),
  };
}
