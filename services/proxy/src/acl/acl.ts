import type { COMMANDS, PROTOCOLS } from '@sockscope/schemas';
import type { CheckResult, Logger, Registry } from '@sockscope/runtime';
import { createWatchedFile } from '../policy-file/watched-file.js';
import type { LoadResult, WatchedFile } from '../policy-file/watched-file.js';
import { compileAclFile } from './compile-file.js';
import { compileAcl } from './compile.js';
import type { AclTables } from './compile.js';
import type { AclConfig } from './config.js';
import { createDecider } from './decide.js';
import { createAclMetrics } from './metrics.js';
import { createOwnEndpoints, parseOwnEndpoint } from './own-endpoints.js';
import { ACL_LIMITS, OPEN_POLICY } from './rules.js';

/** The inputs of a rule. `dest_ip` is null while only the name is known. */
export interface AclRequest {
  readonly user: string;
  readonly groups: readonly string[];
  readonly source_ip: string;
  /** The destination as the client sent it: a name, or an address in any spelling. */
  readonly dest_host: string;
  /**
   * The name that was resolved, if a search list made another one of `dest_host`. A rule that
   * blocks sees both; a rule that allows sees only the requested name.
   */
  readonly resolved_name?: string | null | undefined;
  /** Canonical text of a resolved address. */
  readonly dest_ip: string | null;
  readonly dest_port: number;
  readonly protocol: (typeof PROTOCOLS)[number];
  readonly command: (typeof COMMANDS)[number];
  /** Milliseconds since 1970, for time windows. */
  readonly nowMs: number;
}

export interface AclVerdict {
  readonly decision: 'allow' | 'block';
  /** Name of the deciding rule, or of the built-in protection; null for the default decision. */
  readonly rule: string | null;
}

/**
 * Decides. It is asked twice: with `dest_ip: null` when the request is understood, and with each
 * resolved address before connecting to it. The first time, a block is final; an allow for a name
 * is provisional, and its rule is null if the address decides which rule applies. For an address in
 * any spelling, the first decision is final. An unspecified address is "not known yet" for BIND,
 * and with port 0 for UDP ASSOCIATE: it is blocked only if no rule could allow it.
 *
 * Pure and synchronous; the rules behind it are replaced as a whole on reload.
 */
export interface Acl {
  decide(request: AclRequest): AclVerdict;
  /**
   * Calls back after other rules are in force, because the file was reloaded or a time window
   * opened or closed, so that live sessions can be checked again.
   */
  onChange(listener: () => void): void;
}

export interface ManagedAcl extends Acl {
  /** Loads the file. @throws PolicyFileError, or the error of reading it. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Takes the file in again, as on SIGHUP. An invalid one keeps the rules before. */
  reload(): Promise<LoadResult>;
  /** Not ok while the file in place was rejected. */
  check(): CheckResult;
  /** Adds addresses of the product that are known only now, such as a listener's port. */
  protectEndpoints(endpoints: readonly string[]): Promise<void>;
}

const MINUTE_MS = 60_000;
const SETTLE_MS = 100;

/** The ACL of one file, kept current. Without a file: everything is allowed that is not protected. */
export function createAcl(
  config: AclConfig,
  deps: { readonly logger: Logger; readonly metrics: Registry; readonly now?: () => number },
): ManagedAcl {
  const { logger } = deps;
  const now = deps.now ?? Date.now;
  const metrics = createAclMetrics(deps.metrics);
  const own = createOwnEndpoints(
    config.own_endpoints.flatMap((text) => parseOwnEndpoint(text) ?? []),
    { logger },
  );
  const listeners: (() => void)[] = [];
  let decider = createDecider(compileAcl(OPEN_POLICY), own);
  let rejection: string | null = null;
  let timeSignature = '';
  let minuteTimer: NodeJS.Timeout | null = null;

  function enforce(tables: AclTables): void {
    decider = createDecider(tables, own);
    timeSignature = decider.timeSignature(now());
    rejection = null;
    metrics.loaded(tables.rules, now());
  }

  function notify(): void {
    for (const listener of listeners) listener();
  }

  function onLoad(result: LoadResult): void {
    if (!result.ok) {
      rejection = result.error.message;
      metrics.rejected();
      logger.error(
        { err: result.error },
        'the ACL file is invalid; the former rules stay in force',
      );
      return;
    }
    logger.info({ file: config.file }, 'ACL reloaded');
    notify();
  }

  const file: WatchedFile | null =
    config.file === ''
      ? null
      : createWatchedFile(
          {
            path: config.file,
            interval_ms: config.reload_interval_ms,
            settle_ms: SETTLE_MS,
            max_bytes: ACL_LIMITS.file_bytes,
          },
          {
            onContent: async (text) => {
              enforce(await compileAclFile(config.file, text));
            },
            onLoad,
          },
        );

  function watchMinutes(): void {
    minuteTimer = setTimeout(
      () => {
        const signature = decider.timeSignature(now());
        if (signature !== timeSignature) {
          timeSignature = signature;
          logger.info('a time window of the ACL opened or closed');
          notify();
        }
        watchMinutes();
      },
      MINUTE_MS - (now() % MINUTE_MS),
    );
    minuteTimer.unref();
  }

  return {
    decide(request) {
      const verdict = decider.decide(request);
      metrics.decided(verdict);
      return verdict;
    },
    onChange(listener) {
      listeners.push(listener);
    },
    async start() {
      await own.start();
      if (file === null) enforce(compileAcl(OPEN_POLICY));
      else await file.start();
      watchMinutes();
    },
    async stop() {
      if (minuteTimer !== null) clearTimeout(minuteTimer);
      own.stop();
      await file?.stop();
    },
    async reload() {
      return file === null ? { ok: true, changed: false } : await file.reload();
    },
    check: () => (rejection === null ? { ok: true } : { ok: false, detail: rejection }),
    async protectEndpoints(endpoints) {
      await own.add(endpoints.flatMap((text) => parseOwnEndpoint(text) ?? []));
    },
  };
}
