import { execFileSync } from 'node:child_process';
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, test } from './fixtures';

const given = process.env.SOJOURN_E2E_VNC;
const target = given ? (JSON.parse(given) as { host: string; port: number; password: string; display: string }) : null;
/** Another one at the second try, which finds what the first one left. */
const NAME = `Desktop ${process.pid}`;

test.describe.configure({ mode: 'serial' });
test.skip(!target, 'there is no desktop to go to');

async function clean(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter((violation) => violation.impact === 'serious' || violation.impact === 'critical');
  expect(serious.map((violation) => `${violation.id}: ${violation.nodes.slice(0, 4).map((node) => `${node.target} ${node.failureSummary?.split('\n')[1] ?? ''}`).join(' | ')}`)).toEqual([]);
}

const state = (page: Page) => page.getByTestId('desktop-state');

/** What the browser shows of the desktop, far from the terminal in its corner. */
function colour(page: Page): Promise<string> {
  return page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>('[data-testid=desktop] canvas');
    const pixel = canvas?.getContext('2d')?.getImageData(700, 500, 1, 1).data;
    return pixel ? [pixel[0], pixel[1], pixel[2]].join(' ') : 'nothing';
  });
}

function onDesktop(program: string, args: string[], input?: string): string {
  const options = { env: { ...process.env, DISPLAY: target!.display }, timeout: 10_000 };
  if (input === undefined) return execFileSync(program, args, { ...options, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  execFileSync(program, args, { ...options, input, stdio: ['pipe', 'ignore', 'ignore'] });
  return '';
}

async function open(page: Page) {
  await page.goto('/ui/connect');
  await page.getByRole('button', { name: `Connect to ${NAME}` }).click();
  await expect(page).toHaveURL(/\/ui\/desktop\/conn_/);
  await expect(state(page)).toHaveText('Connected', { timeout: 20_000 });
}

test('a desktop is added, tested and opened', async ({ page }) => {
  await page.goto('/ui/connect');
  await page.getByRole('button', { name: /^Add/ }).first().click();
  const dialog = page.getByRole('dialog', { name: 'Add a connection' });
  await dialog.getByLabel('Name', { exact: true }).fill(NAME);
  await dialog.getByLabel('Protocol').selectOption('vnc');
  await dialog.getByLabel('Host', { exact: true }).fill(target!.host);
  await dialog.getByLabel('Port', { exact: true }).fill(String(target!.port));
  await dialog.getByLabel('Password at the target', { exact: true }).fill(target!.password);
  await dialog.getByText('Policy').click();
  await dialog.getByLabel('Record what the desktop shows').selectOption('best_effort');
  await dialog.getByRole('switch', { name: 'Record which keys are pressed' }).click();
  await dialog.getByRole('button', { name: 'Test', exact: true }).click();
  await expect(dialog.getByTestId('test-result').getByText('Logged in')).toBeVisible({ timeout: 20_000 });
  await clean(page);
  await dialog.getByRole('button', { name: 'Add connection' }).click();
  await expect(dialog).toBeHidden();
  onDesktop('xsetroot', ['-solid', '#204060']);
  await open(page);
  await expect(page.locator('footer').getByText('Recorded', { exact: true })).toBeVisible();
  await expect.poll(() => colour(page)).toBe('32 64 96');
  await clean(page);
});

test('keys reach it, pictures come back, and sizes change', async ({ page }) => {
  await open(page);
  await expect.poll(() => colour(page)).not.toBe('0 0 0');
  const canvas = page.getByTestId('desktop').locator('canvas');
  await page.getByRole('button', { name: '1:1' }).click();
  await expect.poll(async () => (await canvas.boundingBox())?.width).toBe(800);
  await canvas.click({ position: { x: 60, y: 40 } });
  // What another try has left there is a line of its own.
  await page.keyboard.type('\n#106010\n');
  await expect.poll(() => colour(page), { timeout: 20_000 }).toBe('16 96 16');
  await page.getByRole('button', { name: 'Fit' }).click();
  const frame = (await page.getByTestId('desktop').boundingBox())!;
  await expect.poll(async () => Math.round((await canvas.boundingBox())?.width ?? 0)).toBe(Math.round(Math.min(frame.width, (frame.height * 4) / 3)));
  await page.getByRole('button', { name: 'Keys' }).click();
  await expect(page.getByRole('menuitem', { name: 'Ctrl-Alt-Del' })).toBeVisible();
  await clean(page);
  await page.getByRole('menuitem', { name: 'Escape', exact: true }).click();
  await page.getByRole('button', { name: 'Full screen' }).click();
  await expect(page.getByRole('button', { name: 'Full screen' })).toHaveAttribute('aria-pressed', 'true');
  await page.getByRole('button', { name: 'Full screen' }).click();
  await expect(page.getByRole('button', { name: 'Full screen' })).toHaveAttribute('aria-pressed', 'false');
});

test('both clipboards are in a panel', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await open(page);
  await page.getByRole('button', { name: 'Clipboard' }).click();
  const panel = page.getByRole('complementary', { name: 'Clipboard' });
  onDesktop('xclip', ['-selection', 'clipboard', '-in'], 'from the desktop: ä€');
  await expect(panel.getByLabel('Copied on the desktop')).toHaveValue('from the desktop: ä€');
  await panel.getByRole('button', { name: 'Copy' }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('from the desktop: ä€');
  await panel.getByLabel('For the desktop').fill('from the browser: ä€');
  await clean(page);
  await panel.getByRole('button', { name: 'Send to the desktop' }).click();
  await expect.poll(() => onDesktop('xclip', ['-selection', 'clipboard', '-out'])).toBe('from the browser: ä€');
});

test('it is left, ended from outside, and opened again', async ({ page }) => {
  await open(page);
  await page.getByRole('button', { name: 'Disconnect' }).click();
  await expect(page.getByTestId('ended')).toContainText('Closed');
  await page.getByRole('button', { name: 'Reconnect' }).click();
  await expect(state(page)).toHaveText('Connected', { timeout: 20_000 });
  const live = async () => {
    const { sessions } = (await (await page.request.get('/api/v1/sessions/live')).json()) as { sessions: { id: string; protocol: string }[] };
    return sessions.filter((one) => one.protocol === 'vnc');
  };
  // The one before is being sealed.
  await expect.poll(async () => (await live()).length).toBe(1);
  const ours = await live();
  const origin = new URL(page.url()).origin;
  const ended = await page.request.post(`/api/v1/sessions/${ours[0]!.id}/terminate`, { data: { reason: 'enough' }, headers: { origin } });
  expect(ended.status()).toBe(200);
  await expect(page.getByTestId('ended')).toContainText('Terminated');
  await expect(page.getByTestId('ended')).toContainText('enough');
  await page.getByRole('link', { name: 'See the session' }).click();
  await expect(page.getByTestId('player')).toBeVisible();
});

/** What a film shows, far from the terminal. */
function shown(page: Page): Promise<number[]> {
  return page.evaluate(() => {
    const video = document.querySelector<HTMLVideoElement>('[data-testid=player] video')!;
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const context = canvas.getContext('2d')!;
    context.drawImage(video, 0, 0);
    return [...context.getImageData(700, 500, 1, 1).data.slice(0, 3)];
  });
}
const near = (found: number[], expected: number[]) => found.every((value, i) => Math.abs(value - expected[i]!) <= 20);
const FILM = [
  ['#c03030', [192, 48, 48]],
  ['#30c030', [48, 192, 48]],
  ['#3030c0', [48, 48, 192]],
  ['#c0c030', [192, 192, 48]],
] as const;
let film = '';
const moments: { at: number; rgb: readonly number[] }[] = [];

test('somebody looks on, on the wall and alone, and ends it', async ({ page, context }) => {
  // Two pages, two looks of axe, and a film that has to last.
  test.slow();
  await open(page);
  await expect.poll(() => colour(page)).not.toBe('0 0 0');
  const canvas = page.getByTestId('desktop').locator('canvas');
  await page.getByRole('button', { name: '1:1' }).click();
  await canvas.click({ position: { x: 60, y: 40 } });
  await page.keyboard.type('\n');
  const other = await context.newPage();
  await other.goto('/ui/live');
  await other.getByRole('button', { name: 'Show screens' }).click();
  const card = other.getByRole('list', { name: 'Live sessions' }).locator('li').filter({ hasText: NAME });
  onDesktop('xsetroot', ['-solid', '#204060']);
  const wall = () =>
    other.evaluate(() => {
      const small = document.querySelector<HTMLCanvasElement>('[data-testid^=live-] canvas');
      return small && small.width ? [...small.getContext('2d')!.getImageData(700, 500, 1, 1).data.slice(0, 3)].join(' ') : 'nothing';
    });
  await expect.poll(wall, { timeout: 20_000 }).toBe('32 64 96');
  await expect(page.getByRole('status').filter({ hasText: 'watches this session' })).toBeVisible();
  await clean(other);
  const asked = Date.now();
  await card.getByRole('link', { name: /^Watch/ }).last().click();
  await expect(other).toHaveURL(/\/ui\/live\/sess_/);
  await expect.poll(() => colour(other), { intervals: [50] }).toBe('32 64 96');
  // A second, and what a busy machine takes to make a page.
  expect(Date.now() - asked).toBeLessThan(5000);
  film = /sess_[^/?]+/.exec(other.url())![0];
  const { startedAt } = (await (await page.request.get(`/api/v1/sessions/${film}`)).json()) as { startedAt: string };
  const began = Date.parse(startedAt);
  for (const [name, rgb] of FILM) {
    onDesktop('xsetroot', ['-solid', name]);
    await expect.poll(() => colour(other), { intervals: [50] }).toBe(rgb.join(' '));
    await expect.poll(() => colour(page), { intervals: [50] }).toBe(rgb.join(' '));
    // Into the film, and a while longer.
    await page.waitForTimeout(1200);
    moments.push({ at: (Date.now() - began) / 1000, rgb });
  }
  await clean(other);
  await other.getByRole('button', { name: 'Terminate' }).click();
  const dialog = other.getByRole('alertdialog');
  await dialog.getByLabel('Reason').fill('seen enough');
  await dialog.getByRole('button', { name: 'Terminate session' }).click();
  await expect(page.getByTestId('ended')).toContainText('seen enough');
  await expect(other.getByText('See what happened')).toBeVisible();
  await other.close();
});

test('the recording plays, is sought in, and shows what was there', async ({ page }) => {
  await page.goto(`/ui/sessions/${film}`);
  const player = page.getByTestId('player');
  await expect(player.getByRole('button', { name: 'Play' })).toBeEnabled({ timeout: 20_000 });
  const length = await page.evaluate(() => document.querySelector('video')!.duration);
  expect(Number.isFinite(length) && length > 4).toBe(true);
  await expect(page.getByText('Complete and unaltered').first()).toBeVisible();
  for (const { at, rgb } of [...moments].reverse()) {
    const took = await page.evaluate(async (at) => {
      const video = document.querySelector('video')!;
      const from = performance.now();
      const sought = new Promise((done) => video.addEventListener('seeked', done, { once: true }));
      video.currentTime = at;
      await sought;
      return performance.now() - from;
    }, at);
    const found = await shown(page);
    expect(near(found, [...rgb]), `${found} instead of ${rgb} at ${at}`).toBe(true);
    expect(took).toBeLessThan(2000);
  }
  // The bar, by keyboard and pointer, with a small picture of where it points to.
  const slider = player.getByRole('slider', { name: 'Place in the session' });
  await slider.press('Home');
  await expect(player.getByTestId('position')).toContainText(/^0?0?:?0?0:00/);
  const box = (await slider.boundingBox())!;
  // The middle of what was shown: a small picture stands for half a second.
  const place = (index: number) => box.x + (box.width * (moments[index]!.at - 0.5)) / length;
  const thumbnail = player.getByTestId('thumbnail');
  await expect(thumbnail).toBeHidden();
  await page.mouse.move(place(1), box.y + 10);
  const small = () =>
    page.evaluate(() => {
      const canvas = document.querySelector<HTMLCanvasElement>('[data-testid=thumbnail] canvas')!;
      return [...canvas.getContext('2d')!.getImageData(Math.round(canvas.width * 0.87), Math.round(canvas.height * 0.83), 1, 1).data.slice(0, 3)];
    });
  await expect.poll(async () => near(await small(), [...moments[1]!.rgb])).toBe(true);
  await expect(thumbnail).toHaveAttribute('data-late', 'false');
  await clean(page);
  // Held, it says what is where; the film goes where it is let go.
  const there = await shown(page);
  await page.mouse.down();
  await page.mouse.move(place(3), box.y + 10, { steps: 5 });
  await expect.poll(async () => near(await small(), [...moments[3]!.rgb])).toBe(true);
  expect(await shown(page)).toEqual(there);
  await page.mouse.move(place(2), box.y - 60, { steps: 5 });
  await expect.poll(async () => near(await small(), [...moments[2]!.rgb])).toBe(true);
  await page.mouse.up();
  await expect.poll(async () => near(await shown(page), [...moments[2]!.rgb])).toBe(true);
  // What was made is there again at once.
  await page.mouse.move(place(1), box.y + 10);
  expect(near(await small(), [...moments[1]!.rgb])).toBe(true);
  // Keys were pressed at the beginning, and bars say so.
  expect(await slider.locator('path').getAttribute('d')).toMatch(/^M\d/);
  const { events } = (await (await page.request.get(`/api/v1/sessions/${film}/recording/events`)).json()) as { events: { elapsed: number; key?: string }[] };
  const enter = events.find((event) => event.key === 'Enter')!;
  await slider.press('Home');
  for (let at = 0; at <= enter.elapsed; at += 5000) await slider.press('ArrowRight');
  await expect(player.getByTestId('keys')).toContainText('Enter');
  const [download] = await Promise.all([page.waitForEvent('download'), player.getByRole('button', { name: 'Snapshot' }).click()]);
  expect(download.suggestedFilename()).toMatch(/^sess_.*\.png$/);
  await player.getByLabel('Speed').selectOption('4');
  await player.getByRole('button', { name: 'Play' }).click();
  await expect.poll(() => page.evaluate(() => document.querySelector('video')!.playbackRate)).toBe(4);
  await expect.poll(() => page.evaluate(() => document.querySelector('video')!.ended), { timeout: 20_000 }).toBe(true);
  await expect(page.getByRole('link', { name: 'Download the recording (.webm)' })).toBeVisible();
  await page.screenshot({ path: 'test-results/player-light.png', fullPage: true });
});

for (const theme of ['light', 'dark'] as const) {
  test.describe(`390 px, ${theme}`, () => {
    test.use({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme: theme });
    test('it fits', async ({ page }) => {
      await open(page);
      await page.getByRole('button', { name: 'Clipboard' }).click();
      const overflow = await page.evaluate(() => [document.documentElement.scrollWidth, document.querySelector('main')!.scrollWidth]);
      expect(Math.max(...overflow)).toBeLessThanOrEqual(390);
      await clean(page);
      await page.goto(`/ui/sessions/${film}`);
      await expect(page.getByTestId('player').getByRole('button', { name: 'Play' })).toBeEnabled({ timeout: 20_000 });
      expect(await page.evaluate(() => document.querySelector('main')!.scrollWidth)).toBeLessThanOrEqual(390);
      await clean(page);
      await page.screenshot({ path: `test-results/player-390-${theme}.png`, fullPage: true });
    });
  });
}
