import { Histogram } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';

type Snapshot = Awaited<ReturnType<Histogram['get']>>;

interface BucketsConfig {
  readonly name: string;
  readonly help: string;
  /** Upper bounds, rising. */
  readonly buckets: readonly number[];
  readonly registry: Registry;
}

/**
 * A histogram without labels that counts in plain numbers. prom-client's own makes a closure and four
 * objects and hashes labels for every value; here that happens at a scrape.
 */
export class Buckets extends Histogram {
  readonly #config: BucketsConfig;
  /** How many values lie in each bucket alone; the last one counts values beyond all bounds. */
  readonly #counts: number[];
  #sum = 0;

  constructor(config: BucketsConfig) {
    const { name, help, buckets, registry } = config;
    super({ name, help, buckets: [...buckets], registers: [registry] });
    this.#config = config;
    this.#counts = Array.from({ length: buckets.length + 1 }, () => 0);
  }

  /** Counts a value. Labels are not taken. */
  add(value: number): void {
    const bounds = this.#config.buckets;
    let i = 0;
    while (i < bounds.length && value > (bounds[i] ?? 0)) i += 1;
    this.#counts[i] = (this.#counts[i] ?? 0) + 1;
    this.#sum += value;
  }

  override get(): Promise<Snapshot> {
    const { name, help } = this.#config;
    let below = 0;
    const values = [...this.#config.buckets, '+Inf'].map((le, i) => {
      below += this.#counts[i] ?? 0;
      return { labels: { le }, value: below, metricName: `${name}_bucket` };
    });
    return Promise.resolve({
      name,
      help,
      // A word, although prom-client's types differ.
      type: 'histogram' as unknown as Snapshot['type'],
      aggregator: 'sum',
      collect: () => undefined,
      values: [
        ...values,
        { labels: {}, value: this.#sum, metricName: `${name}_sum` },
        { labels: {}, value: below, metricName: `${name}_count` },
      ],
    });
  }

  /** The registry asks for this one when it makes text; prom-client's types hide it. */
  getForPromString(): Promise<Snapshot> {
    return this.get();
  }
}
