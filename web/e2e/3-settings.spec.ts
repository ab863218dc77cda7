import { expect, login, test } from './fixtures';

test('a token is shown once, works, and stops working when revoked', async ({ page, playwright, baseURL }) => {
  await page.goto('/ui/settings/tokens');
  await page.getByRole('button', { name: 'Create token' }).first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('What is it for?').fill('Browser test');
  await dialog.getByRole('button', { name: 'Create token' }).click();
  const token = await dialog.getByTestId('token').innerText();
  expect(token).toMatch(/^sjt_/);
  await dialog.getByRole('button', { name: 'Done' }).click();
  await expect(page.getByRole('cell', { name: /^Browser test/ })).toBeVisible();

  const program = await playwright.request.newContext({ baseURL: baseURL!, extraHTTPHeaders: { Authorization: `Bearer ${token}` } });
  if (process.env.SOJOURN_SETUP_CODE !== 'mock-code') expect((await program.get('/devices')).status()).toBe(200);
  await page.getByRole('button', { name: 'Revoke Browser test' }).click();
  await page.getByRole('button', { name: 'Revoke token' }).click();
  await expect(page.getByText('Revoked', { exact: true })).toBeVisible();
  if (process.env.SOJOURN_SETUP_CODE !== 'mock-code') expect((await program.get('/devices')).status()).toBe(401);
  await program.dispose();
});

test('someone who may only look sees only that', async ({ page, anonymous }) => {
  await page.goto('/ui/settings/users');
  await page.getByRole('button', { name: 'Add user' }).click();
  const dialog = page.getByRole('dialog', { name: 'Add a user' });
  await dialog.getByLabel('Name', { exact: true }).fill('viewer');
  await dialog.getByLabel('Full name').fill('Vera Viewer');
  await dialog.getByLabel('Role').selectOption('user');
  await dialog.getByLabel('Password').fill('only for looking');
  await dialog.getByRole('button', { name: 'Add user' }).click();
  await expect(page.getByRole('cell', { name: /Vera Viewer/ }).first()).toBeVisible();

  await login(anonymous.request, 'viewer', 'only for looking');
  await anonymous.goto('/ui/settings/sources');
  const tabs = anonymous.getByRole('navigation', { name: 'Settings' });
  await expect(tabs.getByRole('link', { name: 'Account' })).toBeVisible();
  for (const hidden of ['Users', 'Roles', 'Audit']) await expect(tabs.getByRole('link', { name: hidden })).toHaveCount(0);
  await expect(anonymous.getByRole('button', { name: 'Add source' })).toHaveCount(0);
  await anonymous.goto('/ui/settings/users');
  await expect(anonymous.getByText('You may not see this page')).toBeVisible();
  await anonymous.goto('/ui/devices');
  await expect(anonymous.getByRole('grid', { name: 'Devices' })).toBeVisible();
  await expect(anonymous.getByRole('button', { name: 'Add device' })).toHaveCount(0);
});

test('a source is added, tested and removed', async ({ page }) => {
  await page.goto('/ui/settings/sources');
  await page.getByRole('button', { name: 'Add source' }).first().click();
  const dialog = page.getByRole('dialog', { name: 'Add a source' });
  await dialog.getByLabel('Kind').selectOption('dhcp-leases');
  await dialog.getByLabel('Name').fill('No such leases');
  await dialog.getByLabel('Lease file').fill('/nonexistent/dnsmasq.leases');
  await dialog.getByRole('button', { name: 'Add source' }).click();
  await expect(dialog).toBeHidden();
  const card = page.getByRole('region', { name: 'Source No such leases' });
  await card.getByRole('button', { name: 'Test' }).click();
  await expect(card.getByText(/The test (failed|worked)/)).toBeVisible();
  await card.getByRole('button', { name: 'Remove' }).click();
  await page.getByRole('button', { name: 'Remove source' }).click();
  await expect(card).toHaveCount(0);
});

test('what was done is in the audit trail', async ({ page }) => {
  await page.goto('/ui/settings/audit');
  const grid = page.getByRole('grid', { name: 'Audit trail' });
  await page.getByRole('searchbox', { name: 'Search the audit trail' }).fill('user.create');
  await expect(grid.getByText('user.create').first()).toBeVisible();
  await grid.getByText('user.create').first().click();
  await expect(page.getByRole('dialog', { name: /Entry/ }).getByText('Hash')).toBeVisible();
});

test('a role is made of permissions', async ({ page }) => {
  await page.goto('/ui/settings/roles');
  await page.getByRole('button', { name: 'Add role' }).click();
  const dialog = page.getByRole('dialog', { name: 'Add a role' });
  await dialog.getByLabel('Name', { exact: true }).fill('desk');
  await dialog.getByLabel('Description').fill('Names devices at the front desk');
  await dialog.getByRole('checkbox', { name: /presence\.manage/ }).check();
  await dialog.getByRole('button', { name: 'Add role' }).click();
  if (process.env.SOJOURN_SETUP_CODE === 'mock-code') return;
  await expect(page.getByRole('region', { name: 'Role desk' })).toContainText('presence.manage');
});

test('the API is described', async ({ page }) => {
  test.skip((await page.request.get('/openapi.json')).status() !== 200, 'there is no openapi.json');
  await page.goto('/docs');
  await page.getByRole('searchbox', { name: 'Find operations' }).fill('/sessions/list');
  const operation = page.locator('details').filter({ hasText: '/sessions/list' }).first();
  await operation.locator('summary').first().click();
  await expect(operation.getByText('start_date')).toBeVisible();
});
