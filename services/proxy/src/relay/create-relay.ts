import { messageOf } from '@sockscope/runtime';
import type { Logger, Registry } from '@sockscope/runtime';
import type { RelayConfig } from './config.js';
import { showRelay, showSplice } from './metrics.js';
import type { Relay, RelayName } from './relay.js';
import { loadLibc } from './splice/libc.js';
import type { Libc } from './splice/libc.js';
import { createSpliceRelay } from './splice/splice-relay.js';
import { createStreamRelay } from './stream/stream-relay.js';

export interface RelayDeps {
  readonly logger: Logger;
  readonly metrics: Registry;
}

/** The relay that the configuration asks for and this machine allows. */
export function createRelay(config: RelayConfig, deps: RelayDeps): Relay {
  const { logger, metrics } = deps;
  const libc = config.relay === 'stream' ? null : tryLibc(logger);
  if (libc === null) {
    const stream = createStreamRelay(config);
    showRelay(metrics, stream);
    return stream;
  }
  const splice = createSpliceRelay(config, { libc, logger });
  showRelay(metrics, splice);
  showSplice(metrics, splice);
  return splice;
}

/** The relay that `auto` means on this machine. */
export function relayNameFor(config: Pick<RelayConfig, 'relay'>): RelayName {
  return config.relay === 'stream' || tryLibc(null) === null ? 'stream' : 'splice';
}

function tryLibc(logger: Logger | null): Libc | null {
  try {
    return loadLibc();
  } catch (error) {
    logger?.warn({ reason: messageOf(error) }, 'splice is not available, so the relay is stream');
    return null;
  }
}
