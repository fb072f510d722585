import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { get, getSessions } from '../support/api.js';
import { hasBrowser, openPage, seriousViolations, startBrowser } from '../support/browser.js';
import { curl, hasCurl, startCurl } from '../support/curl.js';
import { startOrigin } from '../support/origin.js';
import type { Origin } from '../support/origin.js';
import { createProductSite, isAlive, startProduct } from '../support/product.js';
import type { Product, ProductSite } from '../support/product.js';
import { queryCommand, startQuery } from '../support/query-process.js';
import type { QueryProcess } from '../support/query-process.js';

const VERIFIER = fileURLToPath(
  new URL('../../../services/query/dist/evidence/verify-evidence.js', import.meta.url),
);
/** The exact number of a figure, without the marks between its groups. */
const numberOf = async (figure: Locator): Promise<string> =>
  ((await figure.getAttribute('title')) ?? '').replaceAll(/\D/g, '');

const BYTES = 300_000;
const REQUESTS = 5;
const WAIT = { timeout: 60_000, interval: 200 };
/** For all pages one after the other, on a machine that does something else as well. */
const THEME_TIMEOUT_MS = 300_000;
const PAGES = [
  '/',
  '/live',
  '/sessions',
  '/explore?split=user',
  '/explore?picture=table&split=dest_host&compare=1',
  '/explore?picture=sankey',
  '/explore?picture=heatmap',
  '/usage',
  '/entity/user/anonymous',
  '/lookup?egress_ip=127.0.0.1',
  '/signals',
  '/health',
  '/sign-in',
];

describe.skipIf(!hasBrowser || !hasCurl)(
  'the dashboard, in a browser, over the whole product',
  () => {
    let site: ProductSite;
    let product: Product;
    let origin: Origin;
    let browser: Browser;

    beforeAll(async () => {
      site = await createProductSite();
      origin = await startOrigin();
      [product, browser] = await Promise.all([startProduct(site), startBrowser()]);
      for (let n = 0; n < REQUESTS; n++) {
        await curl(site.socks, `http://127.0.0.1:${origin.port}/bytes/${BYTES}`);
      }
      await vi.waitFor(async () => {
        const closed = (await getSessions(site.api)).filter(({ status }) => status === 'closed');
        if (closed.length !== REQUESTS) throw new Error(`${closed.length} sessions are closed`);
      }, WAIT);
    });
    afterAll(async () => {
      await (browser as Browser | undefined)?.close();
      if ((product as Product | undefined) !== undefined && isAlive(product.pid)) {
        product.pressCtrlC();
        await product.exited;
      }
      await origin.stop();
      await site.remove();
    });

    test("the numbers of the overview equal the API's, and lead to a list with as many sessions", async () => {
      const { page, errors } = await openPage(browser);
      await page.goto(`${site.api}/?from=now-1h&to=now`);
      const tile = page.locator('a.tile', { hasText: 'Started' });
      await tile.locator('.figure').waitFor();
      const stats = await get<{ current: { sessions_started: number; bytes_received: number } }>(
        site.api,
        'stats?from=now-1h&to=now',
      );
      expect(stats.current.sessions_started).toBe(REQUESTS);
      await expect
        .poll(() => tile.locator('.figure').getAttribute('title'), WAIT)
        .toBe(String(REQUESTS));
      const received = page.locator('a.tile', { hasText: 'Received' }).locator('.figure');
      await expect
        .poll(async () => (await received.getAttribute('title'))?.replaceAll(/\D/g, ''), WAIT)
        .toBe(String(stats.current.bytes_received));
      await tile.click();
      await page.locator('table.sessions tbody tr').first().waitFor();
      expect(new URL(page.url()).pathname).toBe('/sessions');
      expect(await page.locator('table.sessions tbody tr').count()).toBe(REQUESTS);
      expect(errors).toEqual([]);
      await page.close();
    });

    test('a typed filter is in the address, survives a reload, and the back button removes it', async () => {
      const { page } = await openPage(browser);
      await page.goto(`${site.api}/sessions?from=now-1h&to=now`);
      await page.locator('table.sessions tbody tr').first().waitFor();
      await page.keyboard.press('/');
      await page.locator('.filters input').fill('user:nobody bytes>1k last 6h');
      await page.keyboard.press('Enter');
      await page.locator('.empty').waitFor();
      const params = new URL(page.url()).searchParams;
      expect(Object.fromEntries(params)).toMatchObject({
        user: 'nobody',
        min_bytes: '1000',
        from: 'now-6h',
      });
      await page.reload();
      await expect.poll(() => page.locator('.chip').count(), WAIT).toBe(2);
      await page.goBack();
      await page.locator('table.sessions tbody tr').first().waitFor();
      await page.close();
    });

    test('the palette goes to a page by keyboard alone, and the focus moves to the page', async () => {
      const { page } = await openPage(browser);
      await page.goto(site.api);
      await page.locator('.tile').first().waitFor();
      await page.keyboard.press('Control+k');
      await page.keyboard.type('usage');
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'Usage' }).waitFor();
      await expect
        .poll(() => page.evaluate<string>('document.activeElement.id'), WAIT)
        .toBe('main');
      await page.close();
    });

    test('a session shows its timeline with the bytes that were counted', async () => {
      const { page } = await openPage(browser);
      const [session] = await getSessions(site.api);
      await page.goto(`${site.api}/session/${session?.session_id}`);
      await page.locator('.timeline li').first().waitFor();
      expect(await page.locator('.timeline b').allTextContents()).toEqual(
        expect.arrayContaining(['SessionStarted', 'SessionClosed']),
      );
      await page.close();
    });

    test('the live view follows its stream: an open session appears with its rate, and leaves when it ends', async () => {
      const { page, errors } = await openPage(browser);
      await page.goto(`${site.api}/live`);
      await page.locator('.slider output.now').waitFor();
      const transfer = startCurl(
        site.socks,
        `http://127.0.0.1:${origin.port}/drip/90000000?every=20`,
      );
      try {
        const row = page.locator('table.sessions tbody tr');
        await expect.poll(() => row.count(), WAIT).toBe(1);
        await expect
          .poll(async () => Number(await numberOf(row.locator('.figure').nth(1))), WAIT)
          .toBeGreaterThan(0);
        await row.locator('a').first().focus();
        transfer.kill();
        // Under the focus the row keeps its place, and is marked as gone.
        await page.locator('tr.gone').waitFor({ timeout: WAIT.timeout });
        await page.locator('h1').click();
        await expect.poll(() => row.count(), WAIT).toBe(0);
      } finally {
        transfer.kill();
      }
      expect(errors).toEqual([]);
      await page.close();
    });

    test('any past moment is shown as of then, and is played back by keyboard until one pauses', async () => {
      const { page, errors } = await openPage(browser);
      const [session] = await getSessions(site.api, 'limit=1&sort=duration_ms');
      // In the middle of the longest session at least that one was open.
      const startMs = Date.parse(session?.started_at ?? '');
      const endMs = Date.parse(session?.ended_at ?? '');
      const at = new Date(Math.floor((startMs + endMs) / 2)).toISOString();
      const { total } = await get<{ total: number }>(site.api, `sessions?at=${at}`);
      expect(total).toBeGreaterThan(0);
      await page.goto(`${site.api}/live?at=${at}`);
      await page.getByRole('heading', { name: `As of ${at.slice(0, 10)}` }).waitFor();
      await expect.poll(() => page.locator('table.sessions tbody tr').count(), WAIT).toBe(total);
      const shownAt = () => Date.parse(new URL(page.url()).searchParams.get('at') ?? '');
      // A step of the slider to the left is an earlier moment, and stands in the address.
      await page.getByRole('slider').focus();
      await page.keyboard.press('ArrowLeft');
      await expect.poll(shownAt, WAIT).toBeLessThan(Date.parse(at));
      // Played from far enough back not to reach the present meanwhile.
      const fromMs = Date.now() - 50 * 60_000;
      await page.goto(`${site.api}/live?at=${new Date(fromMs).toISOString()}`);
      await page.getByRole('button', { name: /10 times as fast/ }).focus();
      await page.keyboard.press('Enter');
      const output = page.locator('.slider output');
      await expect
        .poll(async () => Date.parse(`${await output.textContent()}Z`), WAIT)
        .toBeGreaterThanOrEqual(fromMs + 20_000);
      await page.getByRole('button', { name: /Pause/ }).click();
      await expect.poll(shownAt, WAIT).toBeGreaterThanOrEqual(fromMs + 20_000);
      expect(errors).toEqual([]);
      await page.close();
    });

    test('explore shows the numbers of the API as a table, and explains a part that is chosen', async () => {
      const { page, errors } = await openPage(browser);
      const range = 'from=now-1h&to=now';
      await page.goto(
        `${site.api}/explore?${range}&split=user&picture=table&measure=bytes_received`,
      );
      const top = await get<{ items: { user: string; bytes_received: number }[] }>(
        site.api,
        `top/users?${range}&sort=bytes_received`,
      );
      const row = page.locator('tbody tr').first();
      await row.waitFor();
      expect(await row.locator('th').textContent()).toBe(top.items[0]?.user);
      await expect
        .poll(() => numberOf(row.locator('td').nth(5).locator('.figure')), WAIT)
        .toBe(String(top.items[0]?.bytes_received));
      const explain = `${new Date(Date.now() - 3_600_000).toISOString()}/${new Date().toISOString()}`;
      await page.goto(
        `${site.api}/explore?measure=sessions_started&explain=${encodeURIComponent(explain)}`,
      );
      await page.locator('.parts caption', { hasText: 'User' }).waitFor();
      expect(await page.locator('.parts').getByText('anonymous').count()).toBe(1);
      expect(errors).toEqual([]);
      await page.close();
    });

    test('the chart has a cursor for the keyboard that reads its numbers aloud', async () => {
      const { page } = await openPage(browser);
      await page.goto(`${site.api}/explore?from=now-1h&to=now&measure=sessions_started`);
      const chart = page.getByRole('img', { name: 'Started' });
      await chart.waitFor();
      await chart.focus();
      await page.keyboard.press('ArrowRight');
      await page.locator('.readout[aria-live] time').waitFor();
      expect(await page.locator('.readout').textContent()).toMatch(/Started/);
      await page.close();
    });

    test('signals report that they found nothing, and health shows every hop with its state', async () => {
      const { page, errors } = await openPage(browser);
      await page.goto(`${site.api}/signals`);
      await expect.poll(() => page.getByText('Nothing found').count(), WAIT).toBe(5);
      await page.goto(`${site.api}/health`);
      await expect.poll(() => page.locator('li.hop').count(), WAIT).toBe(4);
      await page.getByText('1 heard of in the last hour').waitFor();
      await page.getByText('caught up').first().waitFor();
      await page.getByText('Every record was valid.').waitFor();
      expect(errors).toEqual([]);
      await page.close();
    });

    test('a note is written on the overview, is shown to others, and is deleted', async () => {
      const { page, errors } = await openPage(browser);
      await page.goto(site.api);
      await page.getByText('Add a note').click();
      await page.getByLabel('Note', { exact: true }).fill('a new rule');
      await page.keyboard.press('Enter');
      await page.getByRole('listitem').filter({ hasText: 'a new rule' }).waitFor();
      await page.reload();
      await page.getByRole('button', { name: 'Delete the note a new rule' }).click();
      await page.getByText('No notes on this range.').waitFor();
      expect(errors).toEqual([]);
      await page.close();
    });

    test('suggestions complete the typed text in the palette, and lead to the page of the value', async () => {
      const { page } = await openPage(browser);
      await page.goto(site.api);
      await page.locator('.tile').first().waitFor();
      await page.keyboard.press('Control+k');
      await page.keyboard.type('anony');
      await page.getByRole('option', { name: /user:anonymous/ }).waitFor();
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { level: 1, name: /anonymous/ }).waitFor();
      expect(new URL(page.url()).pathname).toBe('/entity/user/anonymous');
      await expect.poll(() => page.title(), WAIT).toContain('anonymous');
      await page.close();
    });

    describe('with keys', () => {
      let keyed: QueryProcess;
      let folder: string;
      const keys: Record<'admin' | 'tied', string> = { admin: '', tied: '' };

      beforeAll(async () => {
        folder = await mkdtemp(join(tmpdir(), 'sockscope-evidence-'));
        const keyFile = join(folder, 'key.json');
        await queryCommand(site.clickhouse, 'evidence-key', 'create', '--file', keyFile);
        const create = (...args: readonly string[]) =>
          queryCommand(site.clickhouse, 'keys', 'create', ...args);
        keys.admin = await create('--name', 'admin', '--scope', 'admin');
        keys.tied = await create('--name', 'tied', '--scope', 'read', '--user', 'somebody');
        keyed = await startQuery(site.clickhouse, {
          QUERY_AUTH: 'api_keys',
          QUERY_EVIDENCE_KEY_FILE: keyFile,
        });
      });
      afterAll(async () => {
        await (keyed as QueryProcess | undefined)?.stop();
        await rm(folder, { recursive: true });
      });

      /** A page of its own cookies, signed in by keyboard alone. */
      async function signedIn(key: string, path: string): Promise<Page> {
        const { page } = await openPage(browser);
        await page.goto(`${keyed.api}${path}`);
        await page.getByLabel('API key').fill('ssk_000000000000_wrong');
        await page.keyboard.press('Enter');
        await page.getByText('This key is not valid.').waitFor();
        await page.getByLabel('API key').fill(key);
        await page.keyboard.press('Enter');
        await page.locator('.top nav a').first().waitFor();
        return page;
      }

      test('the text of a complaint leads to its session and to a report that the verifier accepts', async () => {
        const peer = origin.peers[0];
        const [session] = await getSessions(site.api, `limit=1&egress_port=${peer?.port}`);
        const seconds = (session?.started_at ?? '').slice(0, 19).replace('T', ' ');
        const page = await signedIn(keys.admin, '/lookup');
        await page
          .getByLabel('Paste the text of the complaint, as it was mailed')
          .fill(`Abuse from ${peer?.ip}:${peer?.port} on ${seconds}`);
        // The text has no zone, so nothing is looked up until the user names one.
        await page.getByText('The text has no time zone.').waitFor();
        expect(await page.getByLabel('Our port').inputValue()).toBe(String(peer?.port));
        await page.getByLabel('Time zone').last().selectOption('UTC');
        await page.getByRole('button', { name: 'Find sessions' }).focus();
        await page.keyboard.press('Enter');
        const row = page.locator('table.sessions tbody tr');
        await expect.poll(() => row.count(), WAIT).toBe(1);
        expect(await row.locator('a').first().getAttribute('href')).toContain(
          session?.session_id ?? 'nothing',
        );
        const [download] = await Promise.all([
          page.waitForEvent('download'),
          page.getByRole('link', { name: 'Evidence report' }).click(),
        ]);
        const report = join(folder, 'report.html');
        await download.saveAs(report);
        const [published] = await page.evaluate<{ x: string }[]>(
          `fetch('/api/v1/lookup/evidence/keys').then((r) => r.json()).then((a) => a.keys)`,
        );
        const { stdout } = await promisify(execFile)(process.execPath, [
          VERIFIER,
          report,
          published?.x ?? '',
        ]);
        expect(stdout.trim()).toBe('valid');
        // The file stands alone: it is shown without a server and loads nothing.
        const alone = await openPage(browser);
        await alone.page.goto(`file://${report}`);
        await alone.page
          .getByText(session?.session_id ?? 'nothing')
          .first()
          .waitFor();
        expect(await seriousViolations(alone.page)).toEqual([]);
        expect(alone.errors).toEqual([]);
        await alone.page.close();
        await page.close();
      });

      test('a key of one user sees the portal alone, and nothing of others in it', async () => {
        const page = await signedIn(keys.tied, '/');
        await page.locator('.tile .figure').first().waitFor();
        expect(await page.locator('.top nav a').allTextContents()).toEqual([
          'Overview',
          'Live',
          'Sessions',
          'Usage',
        ]);
        await expect
          .poll(
            () =>
              page.evaluate<string[]>(
                `[...document.querySelectorAll('.tile .figure')].map((each) => each.title)`,
              ),
            WAIT,
          )
          .toEqual(['0', '0', '0', '0', '0', '0']);
        expect(await page.locator('main').textContent()).not.toContain('anonymous');
        for (const path of [
          '/explore',
          '/lookup',
          '/signals',
          '/health',
          '/entity/user/anonymous',
        ]) {
          await page.goto(`${keyed.api}${path}`);
          await page.getByText('There is no such page.').waitFor();
        }
        const status = await page.evaluate<number>(
          `fetch('/api/v1/pipeline').then((r) => r.status)`,
        );
        expect(status).toBe(404);
        await page.getByRole('button', { name: 'Sign out' }).click();
        await page.getByLabel('API key').waitFor();
        await page.close();
      });

      test('an administrator makes a key on the health page, and revokes it', async () => {
        const page = await signedIn(keys.admin, '/health');
        await page.getByText('Make a key').click();
        await page.getByLabel('Name').fill('made in a browser');
        await page.getByRole('button', { name: 'Make key' }).click();
        await page.getByText('It cannot be shown again').waitFor();
        const row = page.locator('tr', { hasText: 'made in a browser' });
        await row.waitFor();
        page.on('dialog', (dialog) => void dialog.accept());
        await row.getByRole('button', { name: 'Revoke' }).click();
        await row.getByText('revoked').waitFor();
        expect(await row.getByRole('button').count()).toBe(0);
        await page.close();
      });
    });

    test.each(['light', 'dark'] as const)(
      'every page is without serious findings of axe and without errors in the %s theme',
      async (colorScheme) => {
        const { page, errors } = await openPage(browser, { colorScheme });
        for (const path of PAGES) {
          await page.goto(`${site.api}${path}`);
          await page.locator('h1').first().waitFor({ state: 'attached' });
          await expect.poll(() => page.locator('.skeleton').count(), WAIT).toBe(0);
          expect(await seriousViolations(page), path).toEqual([]);
          expect(errors, path).toEqual([]);
        }
        await page.close();
      },
      THEME_TIMEOUT_MS,
    );

    test('the page speaks Polish, and fits a telephone', async () => {
      const { page } = await openPage(browser, {
        locale: 'pl-PL',
        viewport: { width: 360, height: 740 },
      });
      await page.goto(`${site.api}/sessions?from=now-1h&to=now`);
      await page.getByRole('heading', { name: 'Sesje' }).first().waitFor();
      await page.locator('table.sessions tbody tr').first().waitFor();
      for (const path of ['/sessions?from=now-1h&to=now', '/', '/live', '/lookup', '/health']) {
        await page.goto(`${site.api}${path}`);
        await page.locator('h1').first().waitFor({ state: 'attached' });
        await expect.poll(() => page.locator('.skeleton').count(), WAIT).toBe(0);
        const width = await page.evaluate<number>('document.documentElement.scrollWidth');
        expect(width, path).toBeLessThanOrEqual(360);
      }
      await page.close();
    });
  },
);
