/**
 * Writes a picture of every page of the dashboard, in both themes, over the demo's data. The pictures
 * show the first screen of a page, so that each stays small enough for a repository.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Browser } from 'playwright-core';
import { openPage, startBrowser } from '../support/browser.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const READY_TIMEOUT_MS = 180_000;
/** All days of the demo have their sums by then, on a busy machine too. */
const SETTLE_TIMEOUT_MS = 600_000;
/** Hours, days and weeks to sum; the present ones change all the time. */
const CHANGED_MAX = 10;
const PAGE_TIMEOUT_MS = 60_000;
const POLL_MS = 200;
/** So that charts are drawn and live rows have rates. */
const DRAWN_MS = 2_500;

const HELP = `Writes a picture of every page of the dashboard, in both themes.

  npm run screenshots                                  runs the demo while it works
  npm run screenshots -- --api http://127.0.0.1:18080  of a product that runs
  npm run screenshots -- --width 360 --out DIR         as a telephone shows it

  --api URL      the product's API; without it the demo is started
  --out DIR      default docs/images
  --width, --height   pixels, default 1440 and 800
  --full-page    the whole page instead of its first screen
`;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    api: { type: 'string' },
    out: { type: 'string', default: join(ROOT, 'docs', 'images') },
    width: { type: 'string', default: '1440' },
    height: { type: 'string', default: '800' },
    'full-page': { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(HELP);
  process.exit();
}

interface Shot {
  readonly name: string;
  readonly path: string;
  /** An expression of the page that is true when it has what the picture is to show. */
  readonly until?: string;
}

/** A stream reports rates after the first reports of open sessions. */
const HAS_RATES = `[...document.querySelectorAll('.sums .figure')].slice(1).some(({ title }) => title !== '0')`;

const ago = (minutes: number): string => new Date(Date.now() - minutes * 60_000).toISOString();

async function json<T>(api: string, path: string): Promise<T> {
  const response = await fetch(`${api}/api/v1/${path}`);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** The pages, with a user, a session and an address that the data has. */
async function shotsOf(api: string): Promise<Shot[]> {
  const week = 'from=now-7d&to=now';
  const users = await json<{ items: { user: string }[] }>(api, `top/users?${week}&limit=1`);
  const sessions = await json<{
    items: {
      session_id: string;
      started_at: string;
      egress_ip: string | null;
      egress_port: number | null;
    }[];
  }>(api, `sessions?${week}&status=closed&sort=duration_ms&limit=20`);
  const session = sessions.items.find(({ egress_port }) => egress_port !== null);
  const complaint = new URLSearchParams({
    egress_ip: session?.egress_ip ?? '127.0.0.1',
    time: session?.started_at ?? ago(60),
    ...(session === undefined ? {} : { egress_port: String(session.egress_port) }),
  });
  return [
    { name: 'overview', path: `/?${week}` },
    { name: 'live', path: '/live', until: HAS_RATES },
    { name: 'live-past', path: `/live?at=${ago(20)}` },
    { name: 'sessions', path: `/sessions?${week}` },
    { name: 'session', path: `/session/${session?.session_id ?? ''}` },
    {
      name: 'entity',
      path: `/entity/user/${encodeURIComponent(users.items[0]?.user ?? '')}?${week}`,
    },
    { name: 'explore', path: `/explore?${week}&split=user` },
    { name: 'explore-flows', path: `/explore?${week}&picture=sankey` },
    { name: 'explain', path: `/explore?${week}&explain=${ago(360)}/${ago(0)}` },
    { name: 'usage', path: '/usage' },
    { name: 'lookup', path: `/lookup?${complaint.toString()}` },
    { name: 'signals', path: `/signals?${week}` },
    { name: 'health', path: '/health' },
    { name: 'sign-in', path: '/sign-in' },
  ];
}

async function shoot(browser: Browser, api: string, shots: readonly Shot[]): Promise<void> {
  const viewport = { width: Number(values.width), height: Number(values.height) };
  await mkdir(values.out, { recursive: true });
  for (const colorScheme of ['light', 'dark'] as const) {
    const { page, errors } = await openPage(browser, { colorScheme, viewport });
    // The demo has no keys; the picture is of a product that has some.
    await page.route('**/api/v1/login', (route) =>
      route.fulfill({ json: { key: true, oidc: false } }),
    );
    for (const { name, path, until = 'true' } of shots) {
      await page.goto(`${api}${path}`);
      await page.locator('h1').first().waitFor({ state: 'attached' });
      const deadline = Date.now() + PAGE_TIMEOUT_MS;
      const isReady = `document.querySelector('.skeleton') === null && ${until}`;
      while (!(await page.evaluate<boolean>(isReady))) {
        if (Date.now() > deadline) {
          console.error(`${name}: something is still missing`);
          break;
        }
        await delay(POLL_MS);
      }
      await delay(DRAWN_MS);
      const file = join(values.out, `${name}-${colorScheme}.png`);
      await page.screenshot({ path: file, fullPage: values['full-page'] });
      console.log(file);
    }
    for (const error of errors) console.error(error);
    await page.close();
  }
}

/** Resolves when the history is stored and summed. @throws if that takes too long. */
async function settled(api: string): Promise<void> {
  const deadline = Date.now() + SETTLE_TIMEOUT_MS;
  // The oldest day comes last.
  const oldest = 'sessions?from=now-65d&to=now-63d&limit=1';
  for (;;) {
    const { items } = await json<{ items: unknown[] }>(api, oldest);
    const { sums } = await json<{ sums: { changed: number } }>(api, 'pipeline');
    if (items.length > 0 && sums.changed <= CHANGED_MAX) return;
    if (Date.now() > deadline) throw new Error(`${sums.changed} hours have no sums yet`);
    await delay(POLL_MS);
  }
}

/** Runs the demo around some work. */
async function withDemo(work: (api: string) => Promise<void>): Promise<void> {
  const demo = spawn('npm', ['run', 'demo'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  try {
    const api = await new Promise<string>((resolve, reject) => {
      const timer = globalThis.setTimeout(() => {
        reject(new Error('the demo did not get ready'));
      }, READY_TIMEOUT_MS);
      let text = '';
      demo.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        const found = /^sockscope ready.*API (http:\/\/[\w.:]+)/m.exec(text)?.[1];
        if (found === undefined) return;
        clearTimeout(timer);
        resolve(found);
      });
      demo.on('exit', () => {
        reject(new Error('the demo ended before it was ready'));
      });
    });
    await settled(api);
    await work(api);
  } finally {
    if (demo.exitCode === null && demo.pid !== undefined) {
      process.kill(-demo.pid, 'SIGINT');
      await once(demo, 'exit');
    }
  }
}

const browser = await startBrowser();
try {
  const work = async (api: string) => shoot(browser, api, await shotsOf(api));
  await (values.api === undefined ? withDemo(work) : work(values.api));
} finally {
  await browser.close();
}
