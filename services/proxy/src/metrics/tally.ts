import { Counter } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';

/**
 * Plain numbers per label value. A prom-client counter hashes its labels on every `inc`; here
 * that happens at a scrape.
 */
export class Tally<Label extends string> {
  readonly #counts: Record<Label, number>;

  constructor(labels: readonly Label[]) {
    this.#counts = Object.fromEntries(labels.map((label) => [label, 0])) as Record<Label, number>;
  }

  add(label: Label): void {
    this.#counts[label] += 1;
  }

  /** Shows the counts as the metric `name`; each label value is there from the start, at 0. */
  register(registry: Registry, name: string, help: string, labelName: string): void {
    const counts: Record<string, number> = this.#counts;
    const metric = new Counter({
      name,
      help,
      labelNames: [labelName],
      registers: [registry],
      collect() {
        metric.reset();
        for (const [label, count] of Object.entries(counts)) {
          metric.inc({ [labelName]: label }, count);
        }
      },
    });
  }
}
