import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';
import type { Browser, Page } from 'playwright-core';
import { findProgram, needs } from './programs.js';

const CHROMIUM = findProgram('chromium', 'chromium-browser', 'google-chrome');
export const hasBrowser = needs(CHROMIUM, 'Chromium', 'Debian: apt-get install chromium');

/** A name of this machine that a browser does not know to be loopback. */
export const HOST_NAME = 'sockscope.test';

/** Flags that stop the browser's own requests to the network. */
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  `--host-resolver-rules=MAP ${HOST_NAME} 127.0.0.1`,
];

export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM ?? '', args: ARGS });
}

/** A request that was refused because the server was busy: the page asks again by itself. */
const BUSY = /the server responded with a status of (?:429|503)/;

/** A page whose errors are kept: a test ends by checking that there were none. */
export async function openPage(
  browser: Browser,
  options: Parameters<Browser['newPage']>[0] = {},
): Promise<{ page: Page; errors: string[] }> {
  const page = await browser.newPage(options);
  const errors: string[] = [];
  page.on('console', (message) => {
    const text = message.text();
    if (message.type() === 'error' && !BUSY.test(text)) {
      errors.push(`${text} (${message.location().url})`);
    }
  });
  page.on('pageerror', (error) => {
    errors.push(error.message);
  });
  return { page, errors };
}

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Serious and critical findings of axe, a line each; of all rules if none are named. */
export async function seriousViolations(
  page: Page,
  rules: readonly string[] | null = null,
): Promise<string[]> {
  // The policy of the page allows no script of others; a debugger may evaluate all the same.
  await page.evaluate(AXE);
  return page.evaluate(async (runOnly) => {
    const { axe } = globalThis as unknown as {
      axe: {
        run(options: { runOnly?: readonly string[] }): Promise<{
          violations: { id: string; impact: string; nodes: { html: string }[] }[];
        }>;
      };
    };
    const { violations } = await axe.run(runOnly === null ? {} : { runOnly });
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
  }, rules);
}
