import type { Health, Registry } from '@sockscope/runtime';
import type { CountShare } from './count-share.js';
import type { Answers, FromWorker, Question, ToWorker } from './messages.js';
import { EXCHANGE_MS } from './pool.js';

/** The way to the primary, from inside a worker. */
export interface PrimaryPort {
  send(message: FromWorker): void;
  onMessage(listener: (message: ToWorker) => void): void;
}

export interface WorkerLink {
  /** Tells the primary that this worker serves; to be started last. */
  start(): void;
  stop(): void;
}

/** How often a worker without news sends a sign of life. */
const SIGN_OF_LIFE_MS = 2_000;

/** Answers the primary, obeys it, and exchanges counts with it. */
export function createWorkerLink(deps: {
  readonly port: PrimaryPort;
  readonly share: CountShare;
  readonly health: Health;
  readonly registry: Registry;
  readonly onStop: () => void;
  readonly onReload: () => void;
}): WorkerLink {
  const { port, share } = deps;
  let timer: NodeJS.Timeout | null = null;
  let spokenMs = Number.NEGATIVE_INFINITY;

  async function answerTo(question: Question): Promise<Answers[Question]> {
    switch (question) {
      case 'metrics':
        return await deps.registry.getMetricsAsJSON();
      case 'live':
      case 'ready':
        return await deps.health.report(question);
    }
  }

  async function answer(id: number, question: Question): Promise<void> {
    try {
      port.send({ kind: 'answer', id, answer: await answerTo(question) });
    } catch {
      port.send({ kind: 'answer', id, answer: null });
    }
  }

  function exchange(): void {
    const counts = share.takeChanges();
    if (counts.length === 0 && performance.now() - spokenMs < SIGN_OF_LIFE_MS) return;
    spokenMs = performance.now();
    port.send({ kind: 'holds', counts });
  }

  port.onMessage((message) => {
    switch (message.kind) {
      case 'stop':
        deps.onStop();
        return;
      case 'reload':
        deps.onReload();
        return;
      case 'ask':
        void answer(message.id, message.question);
        return;
      case 'others':
        share.learn(message.counts);
        return;
    }
  });

  return {
    start() {
      timer = setInterval(exchange, EXCHANGE_MS);
      port.send({ kind: 'ready' });
    },
    stop() {
      if (timer !== null) clearInterval(timer);
    },
  };
}
