/** Everybody can use the pages: by keyboard alone, by touch, with large enough targets and without motion. */
import type { Browser, Locator, Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { get, getSessions } from '../../support/api.js';
import { openPage, seriousViolations } from '../../support/browser.js';

const WAIT = { timeout: 60_000, interval: 200 };
/** Patience for all pages in turn, on a busy machine. */
const THEME_TIMEOUT_MS = 300_000;
const TABS_MAX = 80;
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
  '/entity/nothing/here',
];

/** Targets of a pointer that are smaller than 24 by 24 pixels, a line each. */
function smallTargets(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(`
    [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [role="link"], [role="button"]')]
      .filter((each) => each.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }))
      // The link that skips to the page stands outside of it until it has the focus.
      .filter((each) => !each.matches('.skip'))
      .flatMap((each) => {
        const { width, height } = (each.closest('label') ?? each).getBoundingClientRect();
        // In halves of a pixel, because a zoomed page is rounded.
        return width >= 23.5 && height >= 23.5
          ? []
          : [Math.round(width) + ' × ' + Math.round(height) + ': ' + each.outerHTML.slice(0, 160)];
      })`);
}

async function isDrawn(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.locator('h1').first().waitFor({ state: 'attached' });
  await expect.poll(() => page.locator('.skeleton').count(), WAIT).toBe(0);
}

/** Moves the focus by the Tab key alone. */
async function tabTo(page: Page, target: Locator): Promise<void> {
  await target.waitFor({ timeout: WAIT.timeout });
  for (let n = 0; n < TABS_MAX; n++) {
    if ((await target.and(page.locator(':focus')).count()) > 0) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`${TABS_MAX} presses of Tab do not reach ${target.toString()}`);
}

/** Tests of a dashboard that runs, over sessions that have ended. */
export function testAccess(of: () => { readonly browser: Browser; readonly api: string }): void {
  test(
    'every page has no serious findings of axe in the light and the dark theme, no errors, and targets of 24 pixels, on a telephone too',
    async () => {
      const { browser, api } = of();
      const viewport = { width: 1_440, height: 900 };
      const { page, errors } = await openPage(browser, { colorScheme: 'light', viewport });
      /** Findings in both themes. A theme changes colours only. */
      const findings = async () => {
        const inLight = await seriousViolations(page);
        await page.evaluate(`document.documentElement.dataset.theme = 'dark'`);
        const inDark = await seriousViolations(page, ['color-contrast']);
        await page.evaluate(`document.documentElement.dataset.theme = 'light'`);
        return { inLight, inDark };
      };
      const NONE = { inLight: [], inDark: [] };
      const [session] = await getSessions(api);
      for (const path of [...PAGES, `/session/${session?.session_id}`]) {
        await page.setViewportSize(viewport);
        await isDrawn(page, `${api}${path}`);
        expect(await findings(), path).toEqual(NONE);
        expect(await smallTargets(page), path).toEqual([]);
        expect(errors, path).toEqual([]);
        await page.setViewportSize({ width: 360, height: 740 });
        await expect
          .poll(() => page.evaluate<number>('document.documentElement.scrollWidth'), {
            ...WAIT,
            message: path,
          })
          .toBeLessThanOrEqual(360);
        expect(await smallTargets(page), `${path} at 360`).toEqual([]);
      }
      const dialog = page.locator('dialog[open]');
      for (const key of ['Control+k', '?']) {
        await page.keyboard.press(key);
        await dialog.waitFor(WAIT);
        expect(await findings(), `after ${key}`).toEqual(NONE);
        await page.keyboard.press('Escape');
        await dialog.waitFor({ ...WAIT, state: 'detached' });
      }
      await page.close();
    },
    THEME_TIMEOUT_MS,
  );

  test('the page is dark, without errors and findings, if the browser asks for it', async () => {
    const { browser, api } = of();
    const { page, errors } = await openPage(browser, { colorScheme: 'dark' });
    await isDrawn(page, api);
    expect(await page.locator('html').getAttribute('data-theme')).toBe('dark');
    expect(await seriousViolations(page)).toEqual([]);
    expect(errors).toEqual([]);
    await page.close();
  });

  test('nothing moves if the browser asks for reduced motion', async () => {
    const { browser, api } = of();
    for (const [reducedMotion, animation] of [
      ['no-preference', 'turn'],
      ['reduce', 'none'],
    ] as const) {
      const { page } = await openPage(browser, { reducedMotion });
      await isDrawn(page, api);
      const shown = await page.evaluate<string>(`(() => {
        const spinner = document.createElement('i');
        spinner.className = 'spinner';
        document.body.append(spinner);
        return getComputedStyle(spinner).animationName;
      })()`);
      expect(shown).toBe(animation);
      await page.close();
    }
  });

  test('on a telephone the time slider follows a finger into the past', async () => {
    const { browser, api } = of();
    const viewport = { width: 360, height: 740 };
    const { page, errors } = await openPage(browser, { viewport, hasTouch: true, isMobile: true });
    await isDrawn(page, `${api}/live`);
    const slider = page.getByRole('slider');
    await slider.scrollIntoViewIfNeeded();
    const box = await slider.boundingBox();
    if (box === null) throw new Error('the slider is not shown');
    const finger = await page.context().newCDPSession(page);
    const y = box.y + box.height / 2;
    const at = (part: number) => [{ x: box.x + box.width * part, y }];
    const touch = (type: 'touchStart' | 'touchMove' | 'touchEnd', part: number) =>
      finger.send('Input.dispatchTouchEvent', {
        type,
        touchPoints: type === 'touchEnd' ? [] : at(part),
      });
    const openedMs = Date.now();
    await touch('touchStart', 0.95);
    for (const part of [0.9, 0.8, 0.7, 0.6, 0.5]) await touch('touchMove', part);
    await touch('touchEnd', 0.5);
    const shownAt = () => Date.parse(new URL(page.url()).searchParams.get('at') ?? '');
    // The middle of the hour that the slider spans.
    await expect.poll(shownAt, WAIT).toBeLessThan(openedMs - 20 * 60_000);
    expect(shownAt()).toBeGreaterThan(openedMs - 40 * 60_000);
    await page.getByRole('heading', { name: 'As of' }).waitFor();
    expect(errors).toEqual([]);
    await page.close();
  });

  test('a page has the focus after navigation and is announced by its title', async () => {
    const { browser, api } = of();
    const { page } = await openPage(browser);
    await isDrawn(page, api);
    for (const name of ['Usage', 'Signals']) {
      await page.getByRole('navigation').getByRole('link', { name }).focus();
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { level: 1, name }).waitFor();
      const main = page.locator('main');
      await expect
        .poll(() => page.evaluate<string>('document.activeElement.id'), WAIT)
        .toBe('main');
      // The label of the focused element is read aloud; it is the title of the tab.
      const label = (await main.getAttribute('aria-label')) ?? '';
      expect(label).toContain(name);
      expect(await page.title()).toContain(label);
    }
    await page.close();
  });

  test('the live view goes to the past, plays and opens a session by keyboard alone', async () => {
    const { browser, api } = of();
    const { page, errors } = await openPage(browser);
    const [session] = await getSessions(api, 'limit=1&sort=duration_ms');
    const middleMs =
      (Date.parse(session?.started_at ?? '') + Date.parse(session?.ended_at ?? '')) / 2;
    const at = new Date(Math.floor(middleMs)).toISOString();
    await isDrawn(page, `${api}/live?at=${at}`);
    const shownAt = () => Date.parse(new URL(page.url()).searchParams.get('at') ?? '');
    const tree = await page.locator('main').ariaSnapshot();
    expect(tree).toMatch(/slider "Moment"[^]*heading "As of [^]*columnheader "Destination"/);
    await tabTo(page, page.locator('table.sessions tbody a').first());
    await page.keyboard.press('Enter');
    await page.locator('.timeline li').first().waitFor();
    // A browser without a window has no key for it.
    await page.goBack();
    await tabTo(page, page.getByRole('slider'));
    await page.keyboard.press('Home');
    await expect.poll(shownAt, WAIT).toBeLessThan(Date.parse(at));
    await tabTo(page, page.getByRole('button', { name: /60 times as fast/ }));
    await page.keyboard.press('Space');
    const pause = page.getByRole('button', { name: /Pause/ });
    await pause.waitFor();
    await page.keyboard.press('Shift+Tab');
    await tabTo(page, pause);
    await page.keyboard.press('Enter');
    await pause.waitFor({ state: 'detached' });
    await tabTo(page, page.getByRole('button', { name: 'Back to now' }));
    await page.keyboard.press('Enter');
    await page.locator('.slider output.now').waitFor();
    expect(errors).toEqual([]);
    await page.close();
  });

  test('explore changes its measure and explains a part of the chart by keyboard alone', async () => {
    const { browser, api } = of();
    const { page, errors } = await openPage(browser);
    await isDrawn(page, `${api}/explore?from=now-1h&to=now`);
    await tabTo(page, page.getByLabel('Measure'));
    await page.keyboard.type('Star');
    const chart = page.getByRole('img', { name: 'Started' });
    await tabTo(page, chart);
    const tree = await page.locator('main').ariaSnapshot();
    expect(tree).toMatch(/combobox "Measure"[^]*img "Started"[^]*columnheader "95th"/);
    for (const key of ['ArrowLeft', 'Shift+ArrowLeft', 'Shift+PageUp']) {
      await page.keyboard.press(key);
    }
    await page.locator('.readout time').waitFor();
    await page.keyboard.press('Enter');
    await page.locator('.parts caption').first().waitFor();
    const [from = '', to = ''] = (new URL(page.url()).searchParams.get('explain') ?? '').split('/');
    const { buckets } = await get<{ buckets: string[] }>(
      api,
      'traffic?from=now-1h&to=now&points=200',
    );
    const bucketMs = Date.parse(buckets[2] ?? '') - Date.parse(buckets[1] ?? '');
    expect(Date.parse(to) - Date.parse(from)).toBe(12 * bucketMs);
    expect(errors).toEqual([]);
    await page.close();
  });

  test('a lookup is pasted, given its zone, asked and followed to its session by keyboard alone', async () => {
    const { browser, api } = of();
    const { page, errors } = await openPage(browser);
    const { items } = await get<{
      items: { session_id: string; started_at: string; egress_ip: string; egress_port: number }[];
    }>(api, 'sessions?limit=1&status=closed');
    const [session] = items;
    const seconds = (session?.started_at ?? '').slice(0, 19).replace('T', ' ');
    await isDrawn(page, `${api}/lookup`);
    const tree = await page.locator('main').ariaSnapshot();
    expect(tree).toMatch(/textbox "Paste the text[^]*textbox "Our port"[^]*button "Find sessions"/);
    await tabTo(page, page.getByRole('textbox', { name: /Paste the text/ }));
    await page.keyboard.insertText(
      `Abuse from ${session?.egress_ip}:${session?.egress_port} on ${seconds}`,
    );
    const zone = page.locator('.form').getByLabel('Time zone');
    await tabTo(page, zone);
    await page.keyboard.type('UTC');
    await tabTo(page, page.getByRole('button', { name: 'Find sessions' }));
    await page.keyboard.press('Enter');
    await tabTo(page, page.locator('table.sessions tbody a').first());
    await page.keyboard.press('Enter');
    await page.locator('.timeline li').first().waitFor();
    expect(page.url()).toContain(`/session/${session?.session_id}`);
    expect(errors).toEqual([]);
    await page.close();
  });
}
