import { Counter, Gauge } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';

/** How the values of several workers become one. */
type Aggregator = 'sum' | 'min' | 'max';

/** Shows numbers that others keep; each is read when the metrics are read. */
export class AtScrape {
  readonly #registers: Registry[];

  constructor(registry: Registry) {
    this.#registers = [registry];
  }

  counter(name: string, help: string, value: () => number): void {
    const metric = new Counter({
      name,
      help,
      registers: this.#registers,
      collect() {
        metric.reset();
        metric.inc(value());
      },
    });
  }

  gauge(name: string, help: string, value: () => number, aggregator: Aggregator = 'sum'): void {
    const metric = new Gauge({
      name,
      help,
      registers: this.#registers,
      aggregator,
      collect() {
        metric.set(value());
      },
    });
  }
}
