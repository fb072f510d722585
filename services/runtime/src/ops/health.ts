/** The result of a check; `detail` is shown to the operator and must hold no secret. */
export interface CheckResult {
  readonly ok: boolean;
  readonly detail?: string;
}

/** `live`: broken until a restart. `ready`: cannot serve now. `info`: shown, decides nothing. */
export type CheckKind = 'live' | 'ready' | 'info';
type Check = () => CheckResult | Promise<CheckResult>;

export interface HealthReport {
  readonly ok: boolean;
  readonly checks: Readonly<Record<string, CheckResult>>;
}

export interface Health {
  add(kind: CheckKind, name: string, check: Check): void;
  /** Runs the checks of a kind, and shows the `info` ones beside. A check that throws or hangs is not ok. */
  report(kind: 'live' | 'ready'): Promise<HealthReport>;
}

const CHECK_DEADLINE_MS = 2_000;

async function runCheck(check: Check): Promise<CheckResult> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<CheckResult>((resolve) => {
    timer = setTimeout(() => {
      resolve({ ok: false, detail: `no answer within ${CHECK_DEADLINE_MS} ms` });
    }, CHECK_DEADLINE_MS);
  });
  try {
    return await Promise.race([(async () => await check())(), deadline]);
  } catch (error) {
    return { ok: false, detail: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

export function createHealth(): Health {
  const checks: { kind: CheckKind; name: string; check: Check }[] = [];
  return {
    add(kind, name, check) {
      checks.push({ kind, name, check });
    },
    async report(kind) {
      const shown = checks.filter((c) => c.kind === kind || c.kind === 'info');
      const results = await Promise.all(shown.map((c) => runCheck(c.check)));
      return {
        ok: shown.every((c, i) => c.kind === 'info' || results[i]?.ok === true),
        checks: Object.fromEntries(shown.map((c, i) => [c.name, results[i] ?? { ok: false }])),
      };
    },
  };
}
