import AxeBuilder from '@axe-core/playwright';
import type { BrowserContext, Page } from '@playwright/test';
import { expect, login, test } from './fixtures';

const given = process.env.SOJOURN_E2E_SSH;
const target = given ? (JSON.parse(given) as { host: string; port: number; username: string; password: string }) : null;
const mock = process.env.SOJOURN_SETUP_CODE === 'mock-code';
/** Another one at the second try, which finds what the first one left. */
const NAME = `Target ${process.pid}`;

test.describe.configure({ mode: 'serial' });
test.skip(!target, 'there is no SSH server to go to');

async function clean(page: Page) {
  // What a terminal shows is the target's own choice of colours.
  const { violations } = await new AxeBuilder({ page }).exclude('.xterm').exclude('.ap-player').analyze();
  const serious = violations.filter((violation) => violation.impact === 'serious' || violation.impact === 'critical');
  expect(serious.map((violation) => `${violation.id}: ${violation.nodes.slice(0, 4).map((node) => `${node.target} ${node.failureSummary?.split('\n')[1] ?? ''}`).join(' | ')}`)).toEqual([]);
}

/** Terminals drawn as elements, so that their text can be read; and a clipboard. */
async function prepare(context: BrowserContext) {
  await context.addInitScript(() => localStorage.setItem('sojourn.terminal', JSON.stringify({ gpu: false })));
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
}

const screen = (page: Page) => page.locator('.xterm-rows').filter({ visible: true }).last();
const state = (page: Page) => page.getByTestId('terminal-state').last();

/** All that the terminal holds, by the way of a user: select all, copy. */
async function everything(page: Page): Promise<string> {
  await page.getByTestId('terminal').last().click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Select all' }).click();
  await page.getByTestId('terminal').last().click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Copy' }).click();
  return page.evaluate(() => navigator.clipboard.readText());
}

async function open(page: Page) {
  await page.goto('/ui/connect');
  await page.getByRole('button', { name: `Connect to ${NAME}` }).click();
  await expect(page).toHaveURL(/\/ui\/terminal$/);
  await expect(state(page)).toHaveText('Connected', { timeout: 20_000 });
  await expect(screen(page)).toContainText(/[$#] ?/);
}

test('a connection is added, tested and shared', async ({ page }) => {
  await page.goto('/ui/connect');
  await page.getByRole('button', { name: /^Add/ }).first().click();
  const dialog = page.getByRole('dialog', { name: 'Add a connection' });
  await dialog.getByLabel('Name', { exact: true }).fill(NAME);
  await dialog.getByLabel('Host', { exact: true }).fill(target!.host);
  await dialog.getByLabel('Port', { exact: true }).fill(String(target!.port));
  await dialog.getByLabel('User name at the target').fill(target!.username);
  await dialog.getByLabel('Password at the target', { exact: true }).fill(target!.password);
  await dialog.getByLabel('Folder').fill('Tests');
  await dialog.getByRole('button', { name: 'Test', exact: true }).click();
  const result = dialog.getByTestId('test-result');
  await expect(result.getByText('Reached', { exact: true })).toBeVisible({ timeout: 20_000 });
  await expect(result).toContainText('SHA256:');
  await expect(result.getByText('Logged in')).toBeVisible();
  await clean(page);
  await dialog.getByRole('button', { name: 'Pin this key' }).click();
  await expect(dialog.getByText('will be pinned')).toBeVisible();
  await dialog.getByRole('button', { name: 'Add connection' }).click();
  await expect(dialog).toBeHidden();
  await page.getByRole('searchbox', { name: 'Search connections' }).fill(NAME);
  await expect(page).toHaveURL(/q=Target/);
  await expect(page.getByRole('grid', { name: 'Connections' }).getByText(NAME)).toBeVisible();

  await page.getByRole('button', { name: `More for ${NAME}` }).click();
  await page.getByRole('menuitem', { name: 'Share' }).click();
  const share = page.getByRole('dialog', { name: `Share ${NAME}` });
  await share.getByRole('button', { name: 'Role' }).click();
  await share.getByRole('combobox', { name: 'Role' }).or(share.getByRole('textbox', { name: 'Role' })).first().fill('user');
  await share.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(share.getByText('everyone with this role')).toBeVisible();
  await clean(page);
  await share.getByRole('button', { name: 'Save' }).click();
  await expect(share).toBeHidden();
  await page.getByRole('button', { name: `More for ${NAME}` }).click();
  await page.getByRole('menuitem', { name: 'Share' }).click();
  await expect(page.getByRole('dialog').getByText('everyone with this role')).toBeVisible();
});

test('a terminal is typed into, resized, split and searched', async ({ page, context }) => {
  await prepare(context);
  await open(page);
  await page.keyboard.type('echo over the wire\r');
  await expect(screen(page)).toContainText(/over the wire[\s\S]*over the wire/);
  const footer = page.locator('section[aria-label^="Terminal"] footer');
  const size = async () => (await footer.innerText()).match(/(\d+) × (\d+)/)!.slice(1).map(Number);
  const before = await size();
  await page.setViewportSize({ width: 1000, height: 600 });
  // Both are less than they were: the page has taken its new size, and the terminal with it.
  await expect.poll(async () => (await size()).every((now, at) => now < before[at]!)).toBe(true);
  if (!mock) {
    const [narrow, low] = await size();
    await page.keyboard.type('stty size\r');
    await expect(screen(page)).toContainText(`${low} ${narrow}`);
  }
  await page.keyboard.press('Control+Shift+F');
  await page.getByRole('searchbox', { name: 'Find in the terminal' }).fill('wire');
  await expect(page.getByRole('search').getByRole('status')).toHaveText(/of [2-9]/);
  await page.keyboard.press('Escape');
  await clean(page);
  await page.getByRole('button', { name: 'Split to the right' }).click();
  await expect(page.getByTestId('terminal-state')).toHaveText(['Connected', 'Connected'], { timeout: 20_000 });
  await page.keyboard.type('exit\r');
  // A session that was left in order closes its pane.
  await expect(page.getByTestId('terminal-state')).toHaveCount(1);
  await page.getByRole('button', { name: /^Close / }).first().click();
  await page.getByRole('button', { name: 'Close and end' }).click();
  await expect(page.getByText('No terminal is open')).toBeVisible();
});

test('many lines are not pasted unasked', async ({ page, context }) => {
  await prepare(context);
  await open(page);
  await page.evaluate(() => navigator.clipboard.writeText(Array.from({ length: 12 }, (_, i) => `echo line ${i}`).join('\n')));
  await page.getByTestId('terminal').click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Paste' }).click();
  const question = page.getByRole('alertdialog', { name: 'Paste 12 lines?' });
  await expect(question).toContainText('echo line 3');
  await question.getByRole('button', { name: 'Cancel' }).click();
  await expect(screen(page)).not.toContainText('line 3');
});

test('a lost connection comes back with nothing lost, and so does a reload', async ({ page, context }) => {
  await prepare(context);
  await open(page);
  if (mock) await page.keyboard.type('flood\r');
  else await page.keyboard.type('sleep 1; seq -f "count %g" 400\r');
  await context.setOffline(true);
  await expect(state(page)).toHaveText('Reconnecting');
  await expect(page.getByText(/Connection lost: reconnecting/)).toBeVisible();
  await page.waitForTimeout(2500);
  await context.setOffline(false);
  await expect(state(page)).toHaveText('Connected', { timeout: 20_000 });
  if (!mock) {
    await expect(screen(page)).toContainText('count 400');
    const lines = (await everything(page)).split('\n').flatMap((line) => /^count (\d+)\s*$/.exec(line)?.[1] ?? []);
    expect(lines).toEqual(Array.from({ length: 400 }, (_, i) => String(i + 1)));
  }
  await page.getByTestId('terminal').click();
  await page.keyboard.type('echo before the reload\r');
  await expect(screen(page)).toContainText(/before the reload[\s\S]*before the reload/);
  await page.reload();
  await expect(state(page)).toHaveText('Connected', { timeout: 20_000 });
  await expect(screen(page)).toContainText(/before the reload[\s\S]*before the reload/);
  await page.keyboard.type('exit\r');
  await expect(page.getByText('No terminal is open')).toBeVisible();
});

test('a session is watched, terminated, replayed and verified', async ({ page, context, browser, baseURL }) => {
  await prepare(context);
  await open(page);
  await page.keyboard.type('echo marker one\r');
  await expect(screen(page)).toContainText(/marker one[\s\S]*marker one/);

  const second = await browser.newContext({ baseURL: baseURL!, viewport: { width: 1280, height: 860 } });
  await prepare(second);
  const watcher = await second.newPage();
  await login(watcher.request);
  await watcher.goto('/ui/live');
  const tile = watcher.getByRole('list', { name: 'Live sessions' }).getByRole('listitem').filter({ hasText: NAME }).first();
  await expect(tile).toBeVisible();
  await clean(watcher);
  await tile.getByRole('link', { name: /^Watch/ }).click();
  await expect(screen(watcher)).toContainText('marker one', { timeout: 20_000 });
  await page.keyboard.type('echo marker two\r');
  await expect(screen(watcher)).toContainText('marker two');
  await expect(page.getByText(/^Watched by/)).toBeVisible();
  await clean(watcher);
  // Taking part: what the second one types arrives in the first one's session.
  await watcher.getByRole('button', { name: 'Take part' }).click();
  await expect(watcher.getByText(/What you type goes into/)).toBeVisible();
  await expect(screen(watcher)).toContainText('marker two');
  await watcher.getByTestId('watch').click();
  await watcher.keyboard.type('echo from the second\r');
  await expect(screen(page)).toContainText(/from the second[\s\S]*from the second/);

  await watcher.getByRole('button', { name: 'Terminate' }).click();
  const question = watcher.getByRole('alertdialog');
  await expect(question.getByRole('button', { name: 'Terminate session' })).toBeDisabled();
  await question.getByLabel('Reason').fill('the test is over');
  await question.getByRole('button', { name: 'Terminate session' }).click();
  const ended = page.getByTestId('ended');
  await expect(ended).toContainText('Terminated');
  await expect(ended).toContainText('the test is over');
  await second.close();

  await ended.getByRole('link', { name: 'See the session' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toContainText(NAME);
  const commands = page.getByTestId('commands');
  await expect(commands.getByText('echo marker two')).toBeVisible();
  await expect(page.getByTestId('player').locator('.ap-player')).toBeVisible({ timeout: 20_000 });
  await expect(page.getByTestId('position')).toHaveText(/^0:00/);
  await commands.getByText('echo marker two').click();
  await expect(commands.locator('[data-current]')).toContainText('echo marker two');
  await expect(page.getByTestId('verification')).toContainText('Complete and unaltered, checked just now');
  await expect(page.locator('.skeleton')).toHaveCount(0);
  await clean(page);
  await page.getByRole('button', { name: 'Transcript' }).click();
  await expect(page.getByLabel('Text of the session')).toContainText('marker one');

  await page.goto('/ui/sessions');
  await page.getByRole('searchbox', { name: 'Search sessions by command' }).fill('marker two');
  await expect(page).toHaveURL(/q=marker/);
  await expect(page.getByRole('grid', { name: 'Sessions' }).getByText(NAME)).toHaveCount(1);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: /Export what is shown/ }).click()]);
  expect(download.suggestedFilename()).toBe('sessions.csv');
});

test('an SSH key is added and removed', async ({ page }) => {
  await page.goto('/ui/settings/account');
  await page.getByRole('button', { name: 'Add key' }).click();
  const dialog = page.getByRole('dialog', { name: 'Add an SSH key' });
  await dialog.getByLabel('Public key').fill('not a key');
  await dialog.getByRole('button', { name: 'Add key' }).click();
  await expect(dialog.locator('[aria-invalid=true]')).toBeVisible();
  await dialog.getByLabel('Public key').fill('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS test@laptop');
  await dialog.getByRole('button', { name: 'Add key' }).click();
  await expect(page.getByText('test@laptop')).toBeVisible();
  await page.getByRole('button', { name: 'Remove test@laptop' }).click();
  await page.getByRole('button', { name: 'Remove key' }).click();
  await expect(page.getByText('test@laptop')).toHaveCount(0);
});

test('deleting a connection says what goes', async ({ page }) => {
  await page.goto(`/ui/connect?q=${NAME}`);
  await page.getByRole('button', { name: `More for ${NAME}` }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  const question = page.getByRole('alertdialog', { name: `Delete ${NAME}?` });
  await expect(question).toContainText('recordings stay');
  await question.getByRole('button', { name: 'Delete connection' }).click();
  await expect(page.getByText('No connection matches')).toBeVisible();
});
