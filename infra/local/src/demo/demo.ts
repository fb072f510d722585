import { messageOf } from '@sockscope/runtime';
import type { Reporter } from '../supervisor/report.js';
import type { RunningProduct } from '../supervisor/supervisor.js';
import { startOrigins, type Origins } from './origins.js';
import { randomOf } from './random.js';
import { sendHistory } from './send-history.js';
import { DEMO_PROXY_ID } from './settings.js';
import type { DemoSite } from './site.js';
import { startTraffic, type Traffic } from './traffic.js';

/** A process that runs for weeks leaves its traffic to chance, not to a seed. */
const SEED_RANGE = 2 ** 31;

export interface Demo {
  /** Once the product is ready. @throws if a server of the demo cannot listen. */
  start(product: RunningProduct): Promise<void>;
  stop(): Promise<void>;
}

/** The parts of the demo besides the product: the servers, their clients, and the history. */
export function createDemo(site: DemoSite, deps: { readonly report: Reporter }): Demo {
  const { report } = deps;
  const abort = new AbortController();
  let origins: Origins | null = null;
  let traffic: Traffic | null = null;
  let historian: Promise<void> = Promise.resolve();

  async function writeHistory({ brokers, topic }: RunningProduct): Promise<void> {
    try {
      await report.step('writing 65 days of history, the newest first', async () => {
        const past = { endMs: site.historyEndMs, land: site.land, proxyId: DEMO_PROXY_ID };
        await sendHistory({ brokers, topic }, past, abort.signal);
        await site.markHistorySent();
      });
    } catch (error) {
      if (abort.signal.aborted) return;
      report.problem(
        `The history could not be written: ${messageOf(error)}. Start the demo again.`,
      );
    }
  }

  return {
    async start(product) {
      origins = await startOrigins(site.land);
      if (abort.signal.aborted) return;
      const random = randomOf(Math.floor(Math.random() * SEED_RANGE));
      traffic = startTraffic({ proxy: product.proxy, land: site.land, random });
      if (!site.isHistorySent) historian = writeHistory(product);
    },
    async stop() {
      abort.abort();
      await traffic?.stop();
      await historian;
      await origins?.stop();
    },
  };
}
