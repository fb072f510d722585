import type { Browser, Locator } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { get, getSessions } from '../support/api.js';
import { hasBrowser, openPage, startBrowser } from '../support/browser.js';
import { curl, hasCurl, startCurl } from '../support/curl.js';
import { startOrigin } from '../support/origin.js';
import type { Origin } from '../support/origin.js';
import { createProductSite, isAlive, startProduct } from '../support/product.js';
import type { Product, ProductSite } from '../support/product.js';
import { testAccess } from './dashboard/access.js';
import { testEndurance } from './dashboard/endurance.js';
import { testStates } from './dashboard/states.js';
import { testWithKeys } from './dashboard/with-keys.js';

/** The exact number of a figure, without the marks between its groups. */
const numberOf = async (figure: Locator): Promise<string> =>
  ((await figure.getAttribute('title')) ?? '').replaceAll(/\D/g, '');

const BYTES = 300_000;
const REQUESTS = 5;
const WAIT = { timeout: 60_000, interval: 200 };

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
      // No rule is a rule's value, too.
      await page.locator('.filters input').fill('user:nobody bytes>1k rule:"" last 6h');
      await page.keyboard.press('Enter');
      await page.locator('.empty').waitFor();
      const params = new URL(page.url()).searchParams;
      expect(Object.fromEntries(params)).toMatchObject({
        user: 'nobody',
        min_bytes: '1000',
        acl_rule_matched: '',
        from: 'now-6h',
      });
      await page.reload();
      await expect.poll(() => page.locator('.chip').count(), WAIT).toBe(3);
      // The chips turn into the text that they came from, and back.
      await page.keyboard.press('/');
      expect(await page.locator('.filters input').inputValue()).toBe(
        'user:nobody bytes>1k acl_rule_matched:"" ',
      );
      await page.keyboard.press('Enter');
      await expect.poll(() => page.locator('.chip').count(), WAIT).toBe(3);
      expect(new URL(page.url()).searchParams.getAll('user')).toEqual(['nobody']);
      await page.goBack();
      await page.goBack();
      await page.locator('table.sessions tbody tr').first().waitFor();
      await page.close();
    });

    test('a key that is typed right after / or Ctrl K belongs into the field that they open', async () => {
      const { page } = await openPage(browser);
      await page.goto(`${site.api}/sessions?from=now-1h&to=now`);
      await page.locator('table.sessions tbody tr').first().waitFor();
      // A task of the page follows a key sooner than its next frame.
      const focusAfter = (key: object) =>
        page.evaluate<string>(`new Promise((resolve) => {
          const next = new MessageChannel();
          next.port2.onmessage = () => resolve(document.activeElement.tagName);
          window.dispatchEvent(new KeyboardEvent('keydown', ${JSON.stringify(key)}));
          next.port1.postMessage(null);
        })`);
      expect(await focusAfter({ key: '/' })).toBe('INPUT');
      await page.keyboard.press('Escape');
      await page.locator('.filters input').waitFor({ state: 'detached' });
      expect(await focusAfter({ key: 'k', ctrlKey: true })).toBe('INPUT');
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
      await page.getByText('1 active in the last hour').waitFor();
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
      // Both charts have a line at its moment, which their cursor reads aloud.
      await expect.poll(() => page.locator('.chart .mark').count(), WAIT).toBe(2);
      await page.getByRole('img', { name: 'Traffic' }).focus();
      await page.keyboard.press('ArrowLeft');
      await page.locator('.readout', { hasText: 'a new rule' }).waitFor();
      await page.reload();
      await page.getByRole('button', { name: 'Delete the note a new rule' }).click();
      await page.getByText('No notes on this range.').waitFor();
      expect(errors).toEqual([]);
      await page.close();
    });

    test('suggestions complete the typed text in the palette, and lead to the page of the value', async () => {
      // Suggestions come from sums, which ingest makes a while after the sessions.
      const suggested = () =>
        get<{ items: unknown[] }>(site.api, 'suggest/user?prefix=anony').then(({ items }) => items);
      await expect.poll(suggested, { ...WAIT, timeout: 100_000 }).toHaveLength(1);
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

    testStates(() => ({ browser, api: site.api }));

    testWithKeys(() => ({ browser, site, origin }));

    testAccess(() => ({ browser, api: site.api }));

    test('the page speaks Polish, and fits a telephone', async () => {
      const { page } = await openPage(browser, {
        locale: 'pl-PL',
        viewport: { width: 360, height: 740 },
      });
      await page.goto(`${site.api}/sessions?from=now-1h&to=now`);
      await page.getByRole('heading', { name: 'Sesje' }).first().waitFor();
      await page.locator('table.sessions tbody tr').first().waitFor();
      // Each row is a card that names its values itself.
      expect(await page.locator('table.sessions thead').isVisible()).toBe(false);
      const label = await page.evaluate<string>(
        `getComputedStyle(document.querySelector('table.sessions tbody td:nth-child(2)'), '::before').content`,
      );
      expect(label).toBe('"Użytkownik"');
      for (const path of ['/sessions?from=now-1h&to=now', '/', '/live', '/lookup', '/health']) {
        await page.goto(`${site.api}${path}`);
        await page.locator('h1').first().waitFor({ state: 'attached' });
        await expect.poll(() => page.locator('.skeleton').count(), WAIT).toBe(0);
        const width = await page.evaluate<number>('document.documentElement.scrollWidth');
        expect(width, path).toBeLessThanOrEqual(360);
      }
      await page.close();
    });

    testEndurance(() => ({ browser, api: site.api, kafka: site.kafka }));
  },
);
