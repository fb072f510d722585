/** The page when something is loading, failed or old, and when one stops the clock. */
import type { Browser, Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { openPage } from '../../support/browser.js';

const WAIT = { timeout: 60_000, interval: 200 };
/** A shift below this nobody sees: less than a line of text on a screen. */
const SHIFT_MAX = 0.01;

async function answered(page: Page): Promise<void> {
  await page.locator('.tile .figure').first().waitFor(WAIT);
  await expect.poll(() => page.locator('.skeleton').count(), WAIT).toBe(0);
}

/** Tests of a dashboard that runs, over sessions that have ended. */
export function testStates(of: () => { readonly browser: Browser; readonly api: string }): void {
  test('a widget that fails leaves the others, names its request, and comes back at a click', async () => {
    const { browser, api } = of();
    const { page } = await openPage(browser);
    // A fault that the service cannot be made to have for one question only.
    const failing = '**/api/v1/top/close-reasons*';
    await page.route(failing, (route) =>
      route.fulfill({
        status: 400,
        headers: { 'x-request-id': 'req-of-the-test' },
        contentType: 'application/problem+json',
        body: JSON.stringify({ title: 'It broke', status: 400, detail: 'for a test' }),
      }),
    );
    await page.goto(`${api}/?from=now-1h&to=now`);
    const widget = page.getByRole('region', { name: 'Why sessions ended' });
    await widget.getByRole('alert').waitFor(WAIT);
    expect(await widget.getByRole('alert').textContent()).toContain('req-of-the-test');
    await answered(page);
    expect(await page.getByRole('alert').filter({ hasText: 'It broke' }).count()).toBe(1);
    await page.unroute(failing);
    await widget.getByRole('button', { name: 'Try again' }).click();
    await widget.locator('tbody tr').first().waitFor(WAIT);
    expect(await widget.getByRole('alert').count()).toBe(0);
    await page.close();
  });

  test('numbers of a pipeline that lags lose their colour, under a banner and a sign in the title', async () => {
    const { browser, api } = of();
    const { page } = await openPage(browser);
    await page.route('**/api/v1/pipeline', async (route) => {
      const response = await route.fetch();
      const pipeline = (await response.json()) as { partitions: { lag_ms: number }[] };
      for (const each of pipeline.partitions) each.lag_ms = 3_600_000;
      await route.fulfill({ response, json: pipeline });
    });
    await page.goto(`${api}/?from=now-1h&to=now`);
    await answered(page);
    await page.getByRole('status').filter({ hasText: 'The pipeline is 1 h behind' }).waitFor(WAIT);
    expect(await page.title()).toMatch(/^⚠ /);
    const filterOf = (selector: string) =>
      page.evaluate<string>(
        `getComputedStyle(document.querySelector(${JSON.stringify(selector)})).filter`,
      );
    for (const selector of ['.tile .figure', '.chart', '.sparkline', '.bar']) {
      expect(await filterOf(selector), selector).toBe('grayscale(1)');
    }
    await page.close();
  });

  test('nothing on the overview moves while its numbers come', async () => {
    const { browser, api } = of();
    const { page } = await openPage(browser, { viewport: { width: 1_440, height: 900 } });
    await page.addInitScript(`
      globalThis.shifts = 0;
      new PerformanceObserver((list) => {
        for (const { value } of list.getEntries()) globalThis.shifts += value;
      }).observe({ type: 'layout-shift', buffered: true });`);
    await page.goto(`${api}/?from=now-1h&to=now`);
    await answered(page);
    expect(await page.evaluate<number>('globalThis.shifts')).toBeLessThan(SHIFT_MAX);
    await page.close();
  });

  test('a paused page asks nothing more until it is resumed, also after a reload and on other pages', async () => {
    const { browser, api } = of();
    const { page } = await openPage(browser);
    await page.clock.install();
    let questions = 0;
    page.on('request', (request) => {
      if (request.url().includes('/api/v1/stats')) questions += 1;
    });
    await page.goto(`${api}/?from=now-1h&to=now`);
    await answered(page);
    const pause = page.getByRole('button', { name: 'Pause' });
    await pause.click();
    expect(await pause.getAttribute('aria-pressed')).toBe('true');
    const isQuiet = async () => {
      const before = questions;
      await page.clock.runFor(60_000);
      expect(questions).toBe(before);
    };
    await isQuiet();
    expect(new URL(page.url()).searchParams.get('paused')).toBe('1');
    // The first answers come all the same.
    await page.reload();
    await answered(page);
    expect(await pause.getAttribute('aria-pressed')).toBe('true');
    await isQuiet();
    const links = page.getByRole('navigation');
    await links.getByRole('link', { name: 'Sessions' }).click();
    await page.locator('table.sessions tbody tr').first().waitFor(WAIT);
    expect(await pause.getAttribute('aria-pressed')).toBe('true');
    await links.getByRole('link', { name: 'Live' }).click();
    // One frame, and the stream ends.
    await page.getByText(/sessions? open ·/).waitFor(WAIT);
    await page.getByRole('button', { name: 'Resume' }).waitFor(WAIT);
    await page.goBack();
    await page.goBack();
    await answered(page);
    // Back to the time before the pause.
    await page.goBack();
    await expect.poll(() => pause.getAttribute('aria-pressed'), WAIT).toBe('false');
    const before = questions;
    await page.clock.runFor(15_000);
    await expect.poll(() => questions, WAIT).toBeGreaterThan(before);
    await page.close();
  });

  test('a calendar month and two moments of a zone are chosen as ranges, and stand in the address', async () => {
    const { browser, api } = of();
    const { page, errors } = await openPage(browser, { timezoneId: 'Europe/Warsaw' });
    await page.goto(`${api}/sessions?time_zone=Europe/Warsaw`);
    const picker = page.getByRole('combobox', { name: 'Range' });
    const month = await page.evaluate<string>(
      `new Date().toLocaleDateString('sv', { timeZone: 'Europe/Warsaw' }).slice(0, 7)`,
    );
    await picker.selectOption(month);
    expect(new URL(page.url()).searchParams.get('period')).toBe(month);
    await picker.selectOption('custom');
    // Two hours by the clock, of which the change of 30 March 2025 takes one away.
    await page.getByLabel('From', { exact: true }).fill('2025-03-30T01:30');
    await page.getByLabel('To', { exact: true }).fill('2025-03-30T03:30');
    await page.getByRole('button', { name: 'Apply' }).click();
    const params = new URL(page.url()).searchParams;
    expect([params.get('from'), params.get('to'), params.get('period')]).toEqual([
      '2025-03-30T00:30:00.000Z',
      '2025-03-30T01:30:00.000Z',
      null,
    ]);
    await page.reload();
    await expect
      .poll(() => picker.locator('option:checked').textContent(), WAIT)
      .toBe('2025-03-30 01:30 – 2025-03-30 03:30');
    expect(errors).toEqual([]);
    await page.close();
  });
}
