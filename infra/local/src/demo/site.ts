/** The files that the demo keeps in its data folder: users, rules, names, and when its history ends. */
import { scryptSync } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { listenProblem } from '../net/ports.js';
import { ACCOUNTS, ACL, addressOf, LANDS, NAMED, PASSWORD, type Land } from './cast.js';

const stateShape = z.object({
  history_end_ms: z.int().positive(),
  /** All of it is in the topic. */
  history_sent: z.boolean(),
  /** Which of `LANDS`. */
  land: z
    .int()
    .min(0)
    .max(LANDS.length - 1),
});

export interface DemoSite {
  readonly historyEndMs: number;
  readonly isHistorySent: boolean;
  readonly land: Land;
  /** Environment of the proxy. */
  readonly env: Readonly<Record<string, string>>;
  markHistorySent(): Promise<void>;
}

/**
 * Writes the files that the proxy needs. Decisions of the first start (the end of the history, addresses and
 * ports) hold for all later ones on the same folder.
 */
export async function prepareSite(dataDir: string, nowMs: number): Promise<DemoSite> {
  const folder = join(dataDir, 'demo');
  await mkdir(folder, { recursive: true });
  const stateFile = join(folder, 'state.json');
  let state = await readState(stateFile);
  if (state === null) {
    state = { history_end_ms: nowMs, history_sent: false, land: await freeLand() };
    await writeFile(stateFile, JSON.stringify(state));
  }
  const decided = state;
  const land = LANDS[decided.land];
  if (land === undefined) throw new RangeError(`no land ${String(decided.land)}`);
  const files = {
    users: join(folder, 'users.yaml'),
    acl: join(folder, 'acl.yaml'),
    hosts: join(folder, 'hosts'),
  };
  await writeFile(files.users, usersFile(), { mode: 0o600 });
  await writeFile(files.acl, ACL);
  const hosts = NAMED.map((place) => `${addressOf(place, land)} ${place.host}\n`);
  await writeFile(files.hosts, hosts.join(''));
  return {
    historyEndMs: decided.history_end_ms,
    isHistorySent: decided.history_sent,
    land,
    env: {
      PROXY_USERS_FILE: files.users,
      PROXY_ACL_FILE: files.acl,
      PROXY_DNS_HOSTS_FILE: files.hosts,
    },
    markHistorySent: () => writeFile(stateFile, JSON.stringify({ ...decided, history_sent: true })),
  };
}

async function readState(file: string): Promise<z.infer<typeof stateShape> | null> {
  try {
    return stateShape.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return null;
  }
}

/** The first folder and ports that no other copy uses and the system lets us listen on. */
async function freeLand(): Promise<number> {
  for (const [index, land] of LANDS.entries()) {
    const [place] = NAMED;
    const address = place === undefined ? '127.0.0.1' : addressOf(place, land);
    const problems = await Promise.all(
      Object.values(land.ports).map((port) => listenProblem(address, port)),
    );
    if (problems.every((problem) => problem === null)) return index;
  }
  return 0;
}

/** A cheap hash: the password is no secret, and a login should cost the demo nothing. */
const COST = { N: 2, r: 1, p: 1 } as const;
const SALT = Buffer.from('sockscope demo');
const KEY_BYTES = 32;

function usersFile(): string {
  const base64 = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
  const key = scryptSync(PASSWORD, SALT, KEY_BYTES, COST);
  const hash = `$scrypt$ln=1,r=1,p=1$${base64(SALT)}$${base64(key)}`;
  const entries = ACCOUNTS.map(
    ({ name, group }) => `  - name: ${name}\n    password: ${hash}\n    groups: [${group}]\n`,
  );
  return `users:\n${entries.join('')}`;
}
