import AxeBuilder from '@axe-core/playwright';
import { expect, HOST_MAC, test } from './fixtures';

const PAGES = [
  '/',
  '/devices',
  `/devices/${HOST_MAC}`,
  '/presence/timeline',
  '/presence/calendar',
  `/presence/calendar?mac=${HOST_MAC}&view=timeGridWeek`,
  '/presence/events',
  '/connect',
  '/terminal',
  '/files',
  '/sessions',
  '/file-sessions',
  '/live',
  '/settings/sources',
  '/settings/storage',
  '/settings/nodes',
  '/settings/users',
  '/settings/roles',
  '/settings/tokens',
  '/settings/audit',
  '/settings/account',
];

async function settled(page: import('@playwright/test').Page) {
  await expect(page.locator('main h1').first()).toBeVisible();
  await expect(page.locator('.skeleton')).toHaveCount(0);
  await page.waitForLoadState('load');
}

for (const theme of ['light', 'dark'] as const) {
  test.describe(theme, () => {
    test.use({ colorScheme: theme, contextOptions: { reducedMotion: 'reduce' } });
    for (const path of PAGES) {
      test(`axe finds nothing serious on ${path.replace(HOST_MAC, 'MAC')}`, async ({ page }) => {
        await page.goto(`/ui${path}`);
        await settled(page);
        const { violations } = await new AxeBuilder({ page }).analyze();
        const serious = violations.filter((violation) => violation.impact === 'serious' || violation.impact === 'critical');
        expect(serious.map((violation) => `${violation.id}: ${violation.nodes.slice(0, 4).map((node) => `${node.target} ${node.failureSummary?.split('\n')[1] ?? ''}`).join(' | ')}`)).toEqual([]);
      });
    }
    test('axe finds nothing serious in dialogs and the login', async ({ page, anonymous }) => {
      const check = async (where: typeof page) => {
        const { violations } = await new AxeBuilder({ page: where }).analyze();
        const serious = violations.filter((violation) => violation.impact === 'serious' || violation.impact === 'critical');
        expect(serious.map((violation) => `${violation.id}: ${violation.nodes.slice(0, 4).map((node) => node.target).join(' | ')}`)).toEqual([]);
      };
      await page.goto(`/ui/devices/${HOST_MAC}`);
      await page.getByRole('button', { name: 'Edit' }).click();
      await expect(page.getByRole('dialog')).toBeVisible();
      await check(page);
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+k');
      await expect(page.getByRole('listbox', { name: 'Found' }).getByRole('option').first()).toBeVisible();
      await check(page);
      await anonymous.emulateMedia({ colorScheme: theme });
      await anonymous.goto('/ui/');
      await expect(anonymous.getByRole('heading', { name: 'Log in' })).toBeVisible();
      await check(anonymous);
    });
  });
}

test.describe('390 px', () => {
  test.use({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  for (const path of PAGES) {
    test(`${path.replace(HOST_MAC, 'MAC')} fits`, async ({ page }) => {
      await page.goto(`/ui${path}`);
      await settled(page);
      const overflow = await page.evaluate(() => {
        const main = document.querySelector('main')!;
        return { document: document.documentElement.scrollWidth, main: main.scrollWidth };
      });
      expect(overflow.document).toBeLessThanOrEqual(390);
      expect(overflow.main).toBeLessThanOrEqual(390);
      await expect(page.getByRole('navigation', { name: 'Pages' }).filter({ visible: true })).toBeInViewport();
    });
  }

  test('the bottom bar leads everywhere', async ({ page }) => {
    await page.goto('/ui/');
    const bar = page.getByRole('navigation', { name: 'Pages' }).filter({ visible: true });
    for (const [link, heading] of [['Devices', 'Devices'], ['Presence', 'Timeline'], ['Connect', 'Connect'], ['Sessions', 'Sessions'], ['Settings', 'Sources'], ['Now', 'Now']] as const) {
      await bar.getByRole('link', { name: link }).click();
      await expect(page.getByRole('heading', { name: heading, level: 1 })).toBeVisible();
    }
  });
});
