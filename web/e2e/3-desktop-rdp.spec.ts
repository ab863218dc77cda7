import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, test } from './fixtures';

const given = process.env.SOJOURN_E2E_RDP;
const target = given ? (JSON.parse(given) as { host: string; port: number; username: string; password: string; width: number; height: number }) : null;
/** Another one at the second try, which finds what the first one left. */
const NAME = `RDP ${process.pid}`;

let film = '';
let last: number[] = [];

test.describe.configure({ mode: 'serial' });
test.skip(!target, 'there is no desktop to go to over RDP');

async function clean(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter((violation) => violation.impact === 'serious' || violation.impact === 'critical');
  expect(serious.map((violation) => `${violation.id}: ${violation.nodes.slice(0, 4).map((node) => String(node.target)).join(' | ')}`)).toEqual([]);
}

/** What the browser shows far from the terminal in the corner; colours come in 16 bits, so each is rounded to eights. */
function colour(page: Page): Promise<string> {
  return page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>('[data-testid=desktop] canvas');
    const pixel = canvas?.width ? canvas.getContext('2d')?.getImageData(700, 500, 1, 1).data : undefined;
    return pixel ? [...pixel.slice(0, 3)].map((part) => (part + 2) & ~7).join(' ') : 'nothing';
  });
}

async function open(page: Page) {
  await page.goto('/ui/connect');
  await page.getByRole('button', { name: `Connect to ${NAME}` }).click();
  await expect(page).toHaveURL(/\/ui\/desktop\/conn_/);
  // The first time a program of some megabytes is compiled.
  await expect(page.getByTestId('desktop-state')).toHaveText('Connected', { timeout: 40_000 });
}

test('a desktop behind a login with NLA is added, tested, opened and typed into', async ({ page }) => {
  await page.goto('/ui/connect');
  await page.getByRole('button', { name: /^Add/ }).first().click();
  const dialog = page.getByRole('dialog', { name: 'Add a connection' });
  await dialog.getByLabel('Name', { exact: true }).fill(NAME);
  await dialog.getByLabel('Protocol').selectOption('rdp');
  await dialog.getByLabel('Host', { exact: true }).fill(target!.host);
  await dialog.getByLabel('Port', { exact: true }).fill(String(target!.port));
  await dialog.getByLabel('User name at the target', { exact: true }).fill(target!.username);
  await dialog.getByLabel('Password at the target', { exact: true }).fill(target!.password);
  await dialog.getByText('Policy').click();
  await dialog.getByLabel('Record what the desktop shows').selectOption('mandatory');
  await dialog.getByRole('button', { name: 'Test', exact: true }).click();
  await expect(dialog.getByTestId('test-result').getByText('Logged in')).toBeVisible({ timeout: 20_000 });
  await clean(page);
  await dialog.getByRole('button', { name: 'Add connection' }).click();
  await expect(dialog).toBeHidden();

  const loaded: string[] = [];
  page.on('request', (request) => loaded.push(request.url()));
  await open(page);
  expect(loaded.some((url) => /iron-rdp.*\.wasm$/.test(url))).toBe(true);
  expect(loaded.some((url) => /novnc|rfb/i.test(url))).toBe(false);
  // Another try finds the colour that the one before has typed, and types another one.
  const again = test.info().retry > 0;
  await expect.poll(() => colour(page), { timeout: 20_000 }).toMatch(again ? /^(32 64 96|16 96 16)$/ : /^32 64 96$/);
  const [typed, wanted] = again ? ['601010', '96 16 16'] : ['106010', '16 96 16'];
  await page.getByRole('button', { name: '1:1' }).click();
  const canvas = page.getByTestId('desktop').locator('canvas');
  await expect.poll(async () => (await canvas.boundingBox())?.width).toBe(target!.width);
  await canvas.click({ position: { x: 60, y: 40 } });
  // Where keys are is what goes over RDP, so `#` is what one presses for it. What another try has left is a line of its own.
  for (const key of ['Enter', 'Shift+Digit3', ...[...typed].map((digit) => `Digit${digit}`), 'Enter']) await page.keyboard.press(key);
  await expect.poll(() => colour(page), { timeout: 20_000 }).toBe(wanted);
  await expect(page.getByTitle('What the desktop shows is recorded')).toBeVisible();
  await clean(page);
  // Into the film.
  await page.waitForTimeout(500);
  await page.getByRole('button', { name: 'Disconnect' }).click();
  await expect(page.getByTestId('ended')).toContainText('Closed');
  film = (await page.getByRole('link', { name: 'See the session' }).getAttribute('href'))!;
  last = wanted.split(' ').map(Number);
  await page.getByRole('button', { name: 'Reconnect' }).click();
  await expect(page.getByTestId('desktop-state')).toHaveText('Connected', { timeout: 20_000 });
  await expect.poll(() => colour(page), { timeout: 20_000 }).toBe(wanted);
});

test('its recording plays, and shows what was typed', async ({ page }) => {
  await page.goto(film);
  const player = page.getByTestId('player');
  await expect(player.getByRole('button', { name: 'Play' })).toBeEnabled({ timeout: 20_000 });
  await expect(page.getByText('Complete and unaltered').first()).toBeVisible();
  const found = await page.evaluate(async () => {
    const video = document.querySelector<HTMLVideoElement>('[data-testid=player] video')!;
    const sought = new Promise((done) => video.addEventListener('seeked', done, { once: true }));
    video.currentTime = video.duration - 0.1;
    await sought;
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const context = canvas.getContext('2d')!;
    context.drawImage(video, 0, 0);
    return [...context.getImageData(700, 500, 1, 1).data.slice(0, 3)];
  });
  expect(found.every((value, i) => Math.abs(value - last[i]!) <= 20), `${found} instead of ${last}`).toBe(true);
});

test('what stands in the way is said', async ({ page, baseURL }) => {
  const cases = [
    { name: 'a wrong password', change: { password: 'wrong' }, heading: 'Target refused the login', detail: 'the name or the password' },
    // Nobody listens on the port of the discard service here.
    { name: 'nobody there', change: { port: 9 }, heading: 'Target not reached', detail: 'nothing listens' },
  ];
  for (const { name, change, heading, detail } of cases) {
    const { host, port, username, password } = target!;
    const data = { name: `${name} ${process.pid}`, protocol: 'rdp', auth: 'password', policy: { record: 'off' }, host, port, username, password, ...change };
    const made = await page.request.post('/api/v1/connections', { data, headers: { origin: new URL(baseURL!).origin } });
    expect(made.status(), await made.text()).toBe(201);
    const { id } = (await made.json()) as { id: string };
    await page.goto(`/ui/desktop/${id}`);
    await expect(page.getByTestId('ended')).toContainText(heading, { timeout: 20_000 });
    await expect(page.getByTestId('ended')).toContainText(detail);
    await expect(page.getByRole('button', { name: 'Reconnect' })).toBeVisible();
  }
});
