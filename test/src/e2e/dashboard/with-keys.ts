/** The pages and actions of the dashboard for each kind of key. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { getSessions } from '../../support/api.js';
import { HOST_NAME, openPage, seriousViolations } from '../../support/browser.js';
import type { Origin } from '../../support/origin.js';
import type { ProductSite } from '../../support/product.js';
import { queryCommand, startQuery } from '../../support/query-process.js';
import type { QueryProcess } from '../../support/query-process.js';

const VERIFIER = fileURLToPath(
  new URL('../../../../services/query/dist/evidence/verify-evidence.js', import.meta.url),
);
const WAIT = { timeout: 60_000, interval: 200 };

/** Tests of a second query service over the same data, with keys. */
export function testWithKeys(
  of: () => { readonly browser: Browser; readonly site: ProductSite; readonly origin: Origin },
): void {
  describe('with keys', () => {
    let keyed: QueryProcess;
    let folder: string;
    const keys: Record<'admin' | 'tied' | 'visitor', string> = { admin: '', tied: '', visitor: '' };

    let browser: Browser;
    let site: ProductSite;
    let origin: Origin;
    beforeAll(async () => {
      ({ browser, site, origin } = of());
      folder = await mkdtemp(join(tmpdir(), 'sockscope-evidence-'));
      const keyFile = join(folder, 'key.json');
      await queryCommand(site.clickhouse, 'evidence-key', 'create', '--file', keyFile);
      const create = (...args: readonly string[]) =>
        queryCommand(site.clickhouse, 'keys', 'create', ...args);
      keys.admin = await create('--name', 'admin', '--scope', 'admin');
      keys.tied = await create('--name', 'tied', '--scope', 'read', '--user', 'somebody');
      keys.visitor = await create('--name', 'visitor', '--scope', 'read', '--user', 'anonymous');
      keyed = await startQuery(site.clickhouse, {
        QUERY_AUTH: 'api_keys',
        QUERY_EVIDENCE_KEY_FILE: keyFile,
        QUERY_HOSTS: `127.0.0.1,${HOST_NAME}`,
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
      // On paper of A4 nothing is cut off.
      await alone.page.setViewportSize({ width: 794, height: 1_123 });
      await alone.page.emulateMedia({ media: 'print' });
      const width = await alone.page.evaluate<number>('document.documentElement.scrollWidth');
      expect(width).toBeLessThanOrEqual(794);
      expect(alone.errors).toEqual([]);
      await alone.page.close();
      await page.close();
    });

    test('a key of one user sees the portal alone, and no data of other users in it', async () => {
      const page = await signedIn(keys.tied, '/');
      const missing: string[] = [];
      page.on('response', (response) => {
        if (response.status() === 404) missing.push(response.url());
      });
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
      for (const path of ['/live', '/sessions', '/usage']) {
        await page.goto(`${keyed.api}${path}`);
        await page.locator('h1').first().waitFor({ state: 'attached' });
        await expect.poll(() => page.locator('.skeleton').count(), WAIT).toBe(0);
      }
      expect(missing).toEqual([]);
      for (const path of ['/explore', '/lookup', '/signals', '/health', '/entity/user/anonymous']) {
        await page.goto(`${keyed.api}${path}`);
        await page.getByText('There is no such page.').waitFor();
      }
      for (const path of ['pipeline', 'flows', 'explain', 'signals/scan', 'users/somebody']) {
        const status = await page.evaluate<number>(
          `fetch('/api/v1/${path}').then((r) => r.status)`,
        );
        expect([path, status]).toEqual([path, 404]);
      }
      // Bytes of the last day have no list in the portal, so their tiles lead nowhere.
      await page.goto(`${keyed.api}/`);
      const bytes = page.locator('.tile', { hasText: /Sent|Received/ });
      await expect.poll(() => bytes.count(), WAIT).toBe(2);
      expect(await page.locator('a.tile', { hasText: /Sent|Received/ }).count()).toBe(0);
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('API key').waitFor();
      await page.close();
    });

    test('the bytes of a calendar month lead a tied key to its usage, which adds up to exactly as many', async () => {
      const page = await signedIn(keys.visitor, '/');
      const [session] = await getSessions(site.api, 'limit=1&order=asc');
      const month = (session?.started_at ?? '').slice(0, 7);
      await page.goto(`${keyed.api}/?period=${month}`);
      const tile = page.locator('a.tile', { hasText: 'Received' });
      const title = (await tile.locator('.figure').getAttribute('title', WAIT)) ?? '';
      expect(title).toMatch(/[1-9]/);
      await tile.click();
      await page.getByRole('heading', { level: 1, name: 'Usage' }).waitFor();
      const total = page.locator('tfoot td').nth(1).locator('.figure');
      await expect.poll(() => total.getAttribute('title'), WAIT).toBe(title);
      expect(await page.locator('tbody tr').count()).toBe(1);
      await page.close();
    });

    test('an administrator signs out another browser on the health page', async () => {
      const other = await signedIn(keys.visitor, '/usage');
      const who = await other.evaluate<string>(
        `fetch('/api/v1/me').then((r) => r.json()).then((a) => a.id)`,
      );
      const page = await signedIn(keys.admin, '/health');
      const rows = page
        .getByRole('region', { name: 'Signed in' })
        .locator('tbody tr', { hasText: who });
      await rows.first().waitFor(WAIT);
      const before = await rows.count();
      // No: nothing happens.
      page.once('dialog', (dialog) => void dialog.dismiss());
      await rows.first().getByRole('button', { name: 'Sign out' }).click();
      expect(await rows.count()).toBe(before);
      page.on('dialog', (dialog) => void dialog.accept());
      // The oldest first: earlier tests have left sign-ins of the same key.
      for (let left = before; left > 0; left--) {
        await rows.first().getByRole('button', { name: 'Sign out' }).click();
        await expect.poll(() => rows.count(), WAIT).toBe(left - 1);
      }
      await other.reload();
      await other.getByLabel('API key').waitFor(WAIT);
      await other.close();
      await page.close();
    });

    test('the documentation of the API opens on plain http under any name, and takes a key', async () => {
      const { page, errors } = await openPage(browser);
      // A browser upgrades requests to https under every name but those of loopback, if it is asked to.
      await page.goto(`http://${HOST_NAME}:${new URL(keyed.api).port}/docs`);
      await page.getByRole('button', { name: 'Authorize' }).click();
      const form = page.locator('.auth-container', { hasText: 'X-API-Key' });
      await form.locator('input').fill(keys.tied);
      await form.locator('button.authorize').click();
      await page.locator('.btn-done').first().click();
      const operation = page.locator('#operations-accounts-getMe');
      await operation.getByRole('button').first().click();
      await operation.getByRole('button', { name: 'Try it out' }).click();
      await operation.getByRole('button', { name: 'Execute' }).click();
      await operation.locator('.live-responses-table', { hasText: 'somebody' }).waitFor();
      expect(errors).toEqual([]);
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
}
