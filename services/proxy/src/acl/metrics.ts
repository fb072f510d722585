import { Counter, Gauge } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import { PROTECTION_PREFIX } from './rules.js';
import type { AclVerdict } from './acl.js';

/** The decider: a rule of the file, the built-in protection, or the default. */
type DecidedBy = 'rule' | 'protection' | 'default';

export interface AclMetrics {
  decided(verdict: AclVerdict): void;
  /** Rules came into force. */
  loaded(rules: number, atMs: number): void;
  rejected(): void;
}

export function createAclMetrics(registry: Registry): AclMetrics {
  // Plain numbers on the path of a decision; the registry reads them when it is asked.
  const decided: Record<AclVerdict['decision'], Record<DecidedBy, number>> = {
    allow: { rule: 0, protection: 0, default: 0 },
    block: { rule: 0, protection: 0, default: 0 },
  };
  new Counter({
    name: 'sockscope_proxy_acl_evaluations_total',
    help: 'Decisions of the ACL, by rule or protection. A name counts once, and once for each address that is tried.',
    labelNames: ['decision', 'by'],
    registers: [registry],
    collect() {
      this.reset();
      for (const decision of ['allow', 'block'] as const) {
        for (const by of ['rule', 'protection', 'default'] as const) {
          this.inc({ decision, by }, decided[decision][by]);
        }
      }
    },
  });
  const reloads = new Counter({
    name: 'sockscope_proxy_acl_loads_total',
    help: 'Attempts to load the ACL file. After a rejected one, the former rules stay in force.',
    labelNames: ['result'],
    registers: [registry],
  });
  const valid = new Gauge({
    name: 'sockscope_proxy_acl_file_valid',
    help: '1 if the rules in force come from the present file, 0 if that file was rejected.',
    registers: [registry],
    aggregator: 'min',
  });
  const rules = new Gauge({
    name: 'sockscope_proxy_acl_rules',
    help: 'Rules in force.',
    registers: [registry],
    aggregator: 'max',
  });
  const loadedAt = new Gauge({
    name: 'sockscope_proxy_acl_last_load_timestamp_seconds',
    help: 'When the rules in force were loaded.',
    registers: [registry],
    aggregator: 'min',
  });
  for (const result of ['accepted', 'rejected']) reloads.inc({ result }, 0);
  valid.set(1);

  return {
    decided(verdict) {
      const by =
        verdict.rule === null
          ? 'default'
          : verdict.rule.startsWith(PROTECTION_PREFIX)
            ? 'protection'
            : 'rule';
      decided[verdict.decision][by] += 1;
    },
    loaded(count, atMs) {
      reloads.inc({ result: 'accepted' });
      valid.set(1);
      rules.set(count);
      loadedAt.set(atMs / 1_000);
    },
    rejected() {
      reloads.inc({ result: 'rejected' });
      valid.set(0);
    },
  };
}
