import { gzipSync } from 'node:zlib';
import { expect, NAME, PASSWORD, test } from './fixtures';

const code = process.env.SOJOURN_SETUP_CODE;

test('the printed link makes the first administrator', async ({ anonymous: page }) => {
  test.skip(!code, 'the server was set up already');
  await page.goto('/ui/');
  await expect(page).toHaveURL(/\/ui\/setup$/);
  await page.goto(`/ui/setup#code=${code}`);
  await page.reload();
  await page.goto('about:blank');
  await page.goto(`/ui/setup#code=${code}`);
  await expect(page.getByRole('heading', { name: 'Set up Sojourn' })).toBeVisible();
  // The code leaves the address at once.
  await expect(page).toHaveURL(/\/ui\/setup$/);
  await page.getByLabel('Name').fill(NAME);
  await page.getByLabel('Password', { exact: true }).fill('short');
  await page.getByLabel('The password again').fill('short');
  await page.getByRole('button', { name: 'Create administrator' }).click();
  await expect(page.getByText(/at least|short|characters/i).first()).toBeVisible();
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await page.getByLabel('The password again').fill(`${PASSWORD}x`);
  await expect(page.getByText('This is not the same password')).toBeVisible();
  await page.getByLabel('The password again').fill(PASSWORD);
  await page.getByRole('button', { name: 'Create administrator' }).click();
  await expect(page.getByRole('heading', { name: 'Now', exact: true })).toBeVisible();
});

test('log in, log out, and be refused', async ({ anonymous: page }) => {
  await page.goto('/ui/devices');
  await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible();
  await page.getByLabel('Name').fill(NAME);
  await page.getByLabel('Password').fill('not the password');
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('alert')).toBeVisible();
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Log in' }).click();
  // One lands where one wanted to go.
  await expect(page.getByRole('heading', { name: 'Devices' })).toBeVisible();
  await page.getByRole('button', { name: /Account of/ }).first().click();
  await page.getByRole('menuitem', { name: 'Log out' }).click();
  await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible();
});

test('the first view needs little', async ({ page }) => {
  const scripts: Promise<Buffer>[] = [];
  page.on('response', (response) => {
    if (response.request().resourceType() === 'script') scripts.push(response.body());
  });
  await page.goto('/ui/');
  await expect(page.getByRole('heading', { name: 'Now', exact: true })).toBeVisible();
  await expect(page.getByTestId('live').last()).toHaveText('Live');
  const bytes = (await Promise.all(scripts)).reduce((sum, body) => sum + gzipSync(body).length, 0);
  console.log(`    scripts of the first view: ${(bytes / 1000).toFixed(1)} kB compressed`);
  expect(bytes).toBeLessThan(250_000);
});
