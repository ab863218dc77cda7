import { appear, expect, HOST_MAC, report, test } from './fixtures';

const PRINTER = '00:11:32:00:07:30';

test('the overview follows the network while it is open', async ({ page }) => {
  await page.goto('/ui/');
  await expect(page.getByTestId('live').last()).toHaveText('Live');
  const row = page.locator(`[data-testid=here] a[href$="${HOST_MAC}"]`);
  await expect(row).toHaveCount(0);
  await appear(page.request);
  // Nothing is reloaded: the rows come through the stream.
  await expect(row).toBeVisible({ timeout: 45_000 });
  await expect(page.locator(`[data-testid=changes] a[href$="${HOST_MAC}"]`).first()).toBeVisible();
  await expect(page.getByTestId('count-online')).not.toHaveText('0');
});

test('a device is found, named and given an owner', async ({ page }) => {
  await report(page.request, PRINTER, '10.99.7.30', 'printer');
  await page.goto('/ui/devices');
  await page.getByRole('searchbox', { name: 'Search devices' }).fill('10.99.7.30');
  await expect(page).toHaveURL(/q=10\.99\.7\.30/);
  const grid = page.getByRole('grid', { name: 'Devices' });
  await expect(grid.getByRole('row')).toHaveCount(2);
  await grid.getByRole('gridcell', { name: /10\.99\.7\.30/ }).click();
  await expect(page).toHaveURL(/\/ui\/devices\/00:11:32/);
  await page.getByRole('button', { name: 'Edit', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: 'Edit device' });
  await dialog.getByLabel('Name').fill('Label printer');
  await dialog.getByLabel('Owner').fill('Ada');
  await dialog.getByLabel('Type').fill('Printer');
  await dialog.getByLabel('Notes').fill('Second shelf\nPaper: 62 mm');
  await dialog.getByRole('switch', { name: 'May sleep' }).click();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog).toBeHidden();
  await expect(page.getByTestId('device-name')).toHaveText('Label printer');
  await page.reload();
  await expect(page.getByTestId('device-name')).toHaveText('Label printer');
  await expect(page.getByText('Paper: 62 mm')).toBeVisible();
});

test('a device is renamed in the list by keyboard, and several are changed at once', async ({ page }) => {
  await page.goto('/ui/devices?q=Label');
  const grid = page.getByRole('grid', { name: 'Devices' });
  await expect(grid.getByText('Label printer')).toBeVisible();
  await grid.focus();
  await page.keyboard.press('e');
  await page.getByRole('textbox', { name: 'Name' }).fill('Parcel printer');
  await page.keyboard.press('Enter');
  await expect(grid.getByText('Parcel printer')).toBeVisible();
  await page.goto('/ui/devices?q=printer');
  await expect(grid.getByText('Parcel printer')).toBeVisible();
  await grid.focus();
  await page.keyboard.press('Space');
  await expect(page.getByText('1 selected')).toBeVisible();
  await page.getByRole('button', { name: 'Owner…' }).click();
  await page.getByRole('dialog').getByLabel('Owner').fill('Grace');
  await page.getByRole('button', { name: 'Set for 1 device' }).click();
  await expect(grid.getByText('Grace')).toBeVisible();
});

test('sessions entered by hand show in the table, the timeline and the calendar', async ({ page }) => {
  await page.goto(`/ui/devices/${PRINTER}`);
  await page.getByRole('button', { name: 'More' }).click();
  await page.getByRole('menuitem', { name: /Add a session/ }).click();
  const dialog = page.getByRole('dialog', { name: 'Add a session by hand' });
  const day = new Date(Date.now() - 3 * 86_400_000).toISOString().slice(0, 10);
  await dialog.getByLabel(/From/).fill(`${day}T09:15`);
  await dialog.getByLabel('Until').fill(`${day}T11:45`);
  await dialog.getByRole('button', { name: 'Add session' }).click();
  await expect(dialog).toBeHidden();
  const row = page.getByTestId('sessions').getByRole('row', { name: new RegExp(`${day} 09:15`) });
  await expect(row).toContainText('2h 30m');

  await page.goto(`/ui/presence/calendar?mac=${PRINTER}&at=${day}`);
  const calendar = page.getByTestId('calendar');
  await expect(calendar.getByText('2 h 30 min')).toBeVisible();
  await page.getByRole('button', { name: 'Week' }).click();
  await expect(calendar.getByText(/09:15/)).toBeVisible();

  const from = `${day}T00:00:00.000Z`;
  const to = new Date(Date.parse(from) + 86_400_000).toISOString();
  await page.goto(`/ui/presence/timeline?q=${PRINTER}&from=${from}&to=${to}`);
  await expect(page.getByTestId('timeline').getByText('Parcel printer')).toBeVisible();
  const green = () =>
    page.getByTestId('timeline').locator('canvas').evaluate((canvas: HTMLCanvasElement) => {
      const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let i = 0; i < data.length; i += 4) if (data[i] === 0 && data[i + 1] === 0xa6 && data[i + 2] === 0x59) count += 1;
      return count;
    });
  await expect.poll(green).toBeGreaterThan(100);
  // Closer by keyboard: the same session is wider.
  const before = await green();
  await page.getByTestId('timeline').focus();
  await page.keyboard.press('+');
  await page.keyboard.press('+');
  await expect.poll(green).toBeGreaterThan(before * 1.5);
  await expect(page).not.toHaveURL(new RegExp(encodeURIComponent(from)));
});

test('events are listed, filtered and lead to their device', async ({ page }) => {
  await page.goto('/ui/presence/events');
  const grid = page.getByRole('grid', { name: 'Events' });
  await page.getByRole('searchbox', { name: 'Search events' }).fill(PRINTER);
  await page.getByRole('combobox', { name: 'Event' }).selectOption('New Device');
  await expect(page).toHaveURL(/type=New\+Device/);
  // Words are asked for a moment after they are typed: until then the answer to the type alone shows.
  await expect(page).toHaveURL(/q=00/);
  await expect(grid.getByText(PRINTER)).toHaveCount(1);
  await expect(grid.getByText('New device')).toHaveCount(1);
  await grid.getByText('New device').click();
  await expect(page.getByTestId('device-name')).toHaveText('Parcel printer');
  await page.getByRole('button', { name: 'Events' }).click();
  await expect(page.getByRole('cell', { name: 'New device' })).toBeVisible();
});

test('Ctrl-K finds a device', async ({ page }) => {
  await page.goto('/ui/');
  await expect(page.getByRole('heading', { name: 'Now', exact: true })).toBeVisible();
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: 'Find anything' }).fill('parcel');
  await expect(page.getByRole('option', { name: /Parcel printer/ })).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page.getByTestId('device-name')).toHaveText('Parcel printer');
});

test('losing the server is said, and ends by itself', async ({ page, context }) => {
  await page.goto('/ui/');
  await expect(page.getByTestId('live').last()).toHaveText('Live');
  await context.route('**/presence/stream', (route) => route.abort());
  await page.reload();
  await expect(page.getByTestId('live').last()).toHaveText('Reconnecting');
  await context.unroute('**/presence/stream');
  await expect(page.getByTestId('live').last()).toHaveText('Live', { timeout: 20_000 });
});
