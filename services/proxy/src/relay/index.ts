import type { Logger, Registry } from '@sockscope/runtime';
import type { RelayConfig } from './config.js';
import { showRelay } from './metrics.js';
import type { Relay } from './relay.js';
import { createStreamRelay } from './stream/stream-relay.js';

export interface RelayDeps {
  readonly logger: Logger;
  readonly metrics: Registry;
}

/** The relay that the configuration asks for and this machine allows. */
export function createRelay(config: RelayConfig, deps: RelayDeps): Relay {
  const relay = createStreamRelay(config);
  showRelay(deps.metrics, relay.name);
  deps.logger.info({ relay: relay.name }, 'relay chosen');
  return relay;
}
