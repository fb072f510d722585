import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Browser } from 'playwright-core';
import { get, getSessions } from '../support/api.js';
import { hasBrowser, openPage, seriousViolations, startBrowser } from '../support/browser.js';
import { curl, hasCurl } from '../support/curl.js';
import { startOrigin } from '../support/origin.js';
import type { Origin } from '../support/origin.js';
import { createProductSite, isAlive, startProduct } from '../support/product.js';
import type { Product, ProductSite } from '../support/product.js';

const BYTES = 300_000;
const REQUESTS = 5;
const WAIT = { timeout: 60_000, interval: 200 };
const PAGES = [
  '/',
  '/live',
  '/sessions',
  '/explore?split=user',
  '/usage',
  '/entity/user/anonymous',
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
      await browser.close();
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

    test('a filter that is typed stands in the address, holds after a reload, and the back button undoes it', async () => {
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

    test.each(['light', 'dark'] as const)(
      'every page is without serious findings of axe and without errors in the %s theme',
      async (colorScheme) => {
        for (const path of PAGES) {
          const { page, errors } = await openPage(browser, { colorScheme });
          await page.goto(`${site.api}${path}`);
          await page.locator('h1').first().waitFor({ state: 'attached' });
          await expect.poll(() => page.locator('.skeleton').count(), WAIT).toBe(0);
          await expect.poll(() => page.locator('.failed').allTextContents(), WAIT).toEqual([]);
          expect((await seriousViolations(page)).join('\n'), path).toBe('');
          expect(errors.join('\n'), path).toBe('');
          await page.close();
        }
      },
    );

    test('the page speaks Polish, and fits a telephone', async () => {
      const { page } = await openPage(browser, {
        locale: 'pl-PL',
        viewport: { width: 360, height: 740 },
      });
      await page.goto(`${site.api}/sessions?from=now-1h&to=now`);
      await page.getByRole('heading', { name: 'Sesje' }).first().waitFor();
      await page.locator('table.sessions tbody tr').first().waitFor();
      const width = await page.evaluate<number>('document.documentElement.scrollWidth');
      expect(width).toBeLessThanOrEqual(360);
      await page.close();
    });
  },
);
