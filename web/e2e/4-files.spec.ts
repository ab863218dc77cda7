import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import type { APIRequestContext, Page } from '@playwright/test';
import { expect as atOnce, test } from './fixtures';

/** A target answers when it does, and a loaded machine's later. */
const expect = atOnce.configure({ timeout: 30_000 });

interface Target {
  host: string;
  port: number;
  username: string;
  password: string;
  share?: string;
}
const read = (text: string | undefined) => (text ? (JSON.parse(text) as Target) : null);
const target = read(process.env.SOJOURN_E2E_SSH);
const smb = read(process.env.SOJOURN_E2E_SMB);
/** Another one at the second try, which finds what the first one left. */
const NAME = `Files ${process.pid}`;
const SHARE = `Share ${process.pid}`;
let from = '';

test.describe.configure({ mode: 'serial' });
test.skip(!target, 'there is no SSH server to go to');
// Much is looked at in each: both themes, and what goes over the wire.
test.slow();
test.beforeAll(() => {
  from = mkdtempSync(join(tmpdir(), 'sojourn-e2e-files-'));
});
test.afterAll(() => rmSync(from, { recursive: true, force: true }));

async function clean(page: Page) {
  await page.emulateMedia({ reducedMotion: 'reduce' });
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    // Colours that are still changing are those of neither theme.
    await expect.poll(() => page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(document.getAnimations().filter((one) => one instanceof CSSTransition && one.playState === 'running').length)))))).toBe(0);
    const { violations } = await new AxeBuilder({ page }).analyze();
    const serious = violations.filter((violation) => violation.impact === 'serious' || violation.impact === 'critical');
    expect(serious.map((violation) => `${violation.id}: ${violation.nodes.slice(0, 4).map((node) => `${node.target} ${node.failureSummary?.split('\n')[1] ?? ''}`).join(' | ')}`), colorScheme).toEqual([]);
  }
}

async function connection(request: APIRequestContext, name: string, body: Record<string, unknown>): Promise<string> {
  const known = (await (await request.get('/api/v1/connections', { params: { q: name } })).json()) as { connections: { id: string; name: string }[] };
  const found = known.connections.find((one) => one.name === name);
  if (found) return found.id;
  const answer = await request.post('/api/v1/connections', { data: { name, folder: '', tags: [], auth: 'password', ...body } });
  expect(answer.status(), await answer.text()).toBe(201);
  return ((await answer.json()) as { id: string }).id;
}
const sftp = (request: APIRequestContext) => connection(request, NAME, { protocol: 'sftp', host: target!.host, port: target!.port, username: target!.username, password: target!.password });

const files = (page: Page) => page.getByTestId('files');
const entry = (page: Page, name: string) => files(page).last().getByRole('row').filter({ hasText: name });
const job = (page: Page) => page.getByTestId('job').last();

/** Opens the connection's folder for these tests; makes it where it is missing. */
async function open(page: Page) {
  const id = await sftp(page.request);
  await page.goto(`/ui/files/${id}`);
  await expect(page.getByTestId('count')).toHaveText(/entries|entry/, { timeout: 20_000 });
  await page.getByRole('button', { name: 'Type a path' }).click();
  const field = page.getByRole('textbox', { name: 'Path of the folder' });
  const home = await field.inputValue();
  await field.fill(`${home}/e2e`);
  await field.press('Enter');
  await expect(page).toHaveURL(/e2e$/);
  const missing = page.getByText(/^There is no /).first();
  await expect(missing.or(page.getByTestId('count').filter({ hasText: /^\d/ })).first()).toBeVisible();
  if (await missing.isVisible()) {
    await page.getByRole('button', { name: 'Folder above' }).last().click();
    await expect(page.getByTestId('count')).toBeVisible();
    await page.getByRole('button', { name: 'New folder' }).click();
    await page.getByLabel('Name of the folder').fill('e2e');
    await page.getByRole('button', { name: 'Make folder' }).click();
    await expect(entry(page, 'e2e')).toHaveAttribute('aria-selected', 'true');
    await expect(files(page)).toBeFocused();
    await page.keyboard.press('Enter');
  }
  await expect(page).toHaveURL(/e2e$/);
  await expect(page.getByRole('button', { name: 'Upload' })).toBeEnabled();
}

/** Drops files and folders of this machine's disk, as a hand does. */
async function drop(page: Page, paths: string[]) {
  const box = (await page.getByRole('region', { name: `Files of ${NAME}` }).boundingBox())!;
  const at = { x: box.x + box.width / 2, y: box.y + box.height - 60 };
  const client = await page.context().newCDPSession(page);
  const data = { items: [], files: paths, dragOperationsMask: 1 };
  await client.send('Input.dispatchDragEvent', { type: 'dragEnter', ...at, data });
  await client.send('Input.dispatchDragEvent', { type: 'dragOver', ...at, data });
  await expect(page.getByText('Into e2e')).toBeVisible();
  await client.send('Input.dispatchDragEvent', { type: 'drop', ...at, data });
  await client.detach();
}

/** What the page will find of its queue after a reload. */
function kept(): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open('sojourn-files', 1);
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const items = opening.result.transaction('items').objectStore('items').getAll();
      items.onerror = () => reject(items.error);
      items.onsuccess = () => (opening.result.close(), resolve(items.result));
    };
  });
}

test('a folder is uploaded by dropping it', async ({ page }) => {
  const folder = join(from, 'photos');
  mkdirSync(join(folder, '2026', 'empty'), { recursive: true });
  writeFileSync(join(folder, 'a b.txt'), 'first\n');
  writeFileSync(join(folder, 'ü.txt'), 'second\n');
  for (let i = 0; i < 12; i++) writeFileSync(join(folder, '2026', `${i}.bin`), Buffer.alloc(1000 + i, i));
  await open(page);
  await drop(page, [folder]);
  await expect(job(page)).toContainText('photos');
  await expect(job(page).getByTestId('job-state')).toHaveText(/^Done · 14 of 14 files/, { timeout: 60_000 });
  await expect(entry(page, 'photos')).toBeVisible();
  await clean(page);
  await entry(page, 'photos').dblclick();
  await expect(entry(page, 'ü.txt')).toBeVisible();
  await entry(page, '2026').dblclick();
  await expect(page.getByTestId('count')).toHaveText('13 entries');
  await files(page).focus();
  await page.keyboard.press('End');
  await expect(entry(page, '11.bin')).toHaveAttribute('aria-selected', 'true');
  await page.keyboard.press('Backspace');
  await expect(entry(page, '2026')).toHaveAttribute('aria-selected', 'true');
});

test('an upload is paused, survives a reload, and goes on where it was', async ({ page }) => {
  const film = join(from, 'film.bin');
  writeFileSync(film, Buffer.alloc(48 * 1024 * 1024, 7));
  await open(page);
  const client = await page.context().newCDPSession(page);
  await client.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 6 * 1024 * 1024 });
  await page.getByTestId('pick-files').setInputFiles(film);
  await expect(job(page).getByRole('progressbar')).toHaveAttribute('aria-valuenow', /^([2-9]\d)$/, { timeout: 60_000 });
  await expect(job(page).getByTestId('job-state')).toContainText('/s');
  await page.getByRole('button', { name: 'Pause film.bin' }).click();
  await expect(job(page).getByTestId('job-state')).toContainText('paused');
  // What is remembered is written a moment later.
  await expect.poll(() => page.evaluate(kept)).toMatchObject([{ rel: 'film.bin', state: 'paused', done: expect.any(Number) }]);
  await page.reload();
  await expect(job(page).getByTestId('job-state')).toContainText('paused', { timeout: 20_000 });
  await expect(job(page).getByRole('progressbar')).toHaveAttribute('aria-valuenow', /^([1-9]\d)$/);
  await page.getByRole('button', { name: 'Resume film.bin' }).click();
  const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.getByRole('button', { name: 'Choose again…' }).click()]);
  await chooser.setFiles(film);
  await expect(job(page).getByTestId('job-state')).toHaveText(/^Done/, { timeout: 60_000 });
  await expect(entry(page, 'film.bin')).toContainText('50.3 MB');
});

test('a taken name is asked about', async ({ page }) => {
  const note = join(from, 'note.txt');
  writeFileSync(note, 'one\n');
  await open(page);
  await page.getByTestId('pick-files').setInputFiles(note);
  await expect(job(page).getByTestId('job-state')).toHaveText(/^Done/, { timeout: 20_000 });
  writeFileSync(note, 'another one\n');
  await page.getByTestId('pick-files').setInputFiles(note);
  const question = page.getByRole('alertdialog', { name: 'There is a note.txt already' });
  await expect(question).toContainText('4 B');
  await expect(question).toContainText('12 B');
  await clean(page);
  await question.getByRole('button', { name: 'Keep both' }).click();
  await expect(entry(page, 'note (2).txt')).toContainText('12 B');
  await page.getByTestId('pick-files').setInputFiles(note);
  await question.getByRole('button', { name: 'Replace' }).click();
  await expect(entry(page, 'note.txt')).toContainText('12 B');
});

test('text is read and changed, and what somebody else changed is not lost', async ({ page }) => {
  await open(page);
  await entry(page, 'note.txt').dblclick();
  const dialog = page.getByRole('dialog', { name: /note\.txt/ });
  await expect(dialog.getByTestId('text')).toHaveText('another one');
  await dialog.getByRole('button', { name: 'Edit' }).click();
  const text = dialog.getByRole('textbox', { name: 'Text of note.txt' });
  await text.fill('mine\n');
  const id = await sftp(page.request);
  const path = new URL(page.url()).search.slice('?path='.length);
  const other = await page.request.put(`/api/v1/files/${id}/content?path=${path}/note.txt&overwrite=1`, { data: 'theirs, longer\n', headers: { 'Content-Type': 'application/octet-stream' } });
  expect(other.status(), await other.text()).toBe(201);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByTestId('changed')).toContainText('Changed since you opened it');
  await dialog.getByRole('button', { name: 'Compare' }).click();
  await expect(dialog.getByText('- theirs, longer')).toBeVisible();
  await expect(dialog.getByText('+ mine')).toBeVisible();
  await clean(page);
  await dialog.getByRole('button', { name: 'Keep mine' }).click();
  await expect(page.getByText('Saved', { exact: true })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(entry(page, 'note.txt')).toContainText('5 B');
});

test('files are renamed, downloaded and deleted', async ({ page }) => {
  await open(page);
  await entry(page, 'note.txt').click();
  await page.keyboard.press('F2');
  await page.getByRole('textbox', { name: 'New name of note.txt' }).fill('renamed.txt');
  await page.keyboard.press('Enter');
  await expect(entry(page, 'renamed.txt')).toHaveAttribute('aria-selected', 'true');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download', exact: true }).click()]);
  expect(download.suggestedFilename()).toBe('renamed.txt');
  expect(readFileSync(await download.path(), 'utf8')).toBe('mine\n');

  await entry(page, 'photos').click();
  const [zip] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download as .zip' }).click()]);
  expect(zip.suggestedFilename()).toMatch(/\.zip$/);
  expect(readFileSync(await zip.path()).subarray(0, 2).toString()).toBe('PK');

  await entry(page, 'renamed.txt').click({ modifiers: ['ControlOrMeta'] });
  await expect(page.getByTestId('selected')).toContainText('2 selected');
  await page.keyboard.press('Delete');
  const question = page.getByRole('alertdialog', { name: 'Delete 2 entries?' });
  await expect(question.getByTestId('how-much')).toHaveText(/^3 folders with 15 files, /);
  await clean(page);
  await question.getByRole('button', { name: 'Delete' }).click();
  await expect(job(page).getByTestId('job-state')).toHaveText(/^Done/, { timeout: 20_000 });
  await expect(entry(page, 'photos')).toHaveCount(0);
  await expect(entry(page, 'renamed.txt')).toHaveCount(0);
});

test('two targets stand side by side, and files go from one to the other', async ({ page }) => {
  test.skip(!smb, 'there is no SMB server to go to');
  const share = await connection(page.request, SHARE, { protocol: 'smb', host: smb!.host, port: smb!.port, username: smb!.username, password: smb!.password, options: { share: smb!.share ?? '' } });
  await open(page);
  await page.getByRole('button', { name: 'Side by side' }).click();
  await page.getByRole('searchbox', { name: 'Search connections' }).fill(SHARE);
  await page.getByRole('dialog').getByRole('button', { name: SHARE }).click();
  await expect(page).toHaveURL(new RegExp(`with=${share}`));
  const [left, right] = [page.getByRole('region', { name: `Files of ${NAME}` }), page.getByRole('region', { name: `Files of ${SHARE}` })];
  await expect(right.getByTestId('count')).toHaveText(/entries|entry/, { timeout: 20_000 });
  await left.getByRole('row').filter({ hasText: 'film.bin' }).click();
  await left.getByRole('button', { name: 'Copy to the other side' }).click();
  await expect(job(page).getByTestId('job-state')).toHaveText(/^Done/, { timeout: 60_000 });
  await expect(right.getByRole('row').filter({ hasText: 'film.bin' })).toContainText('50.3 MB');
  await clean(page);
  // A name that is taken on the other side is asked about, as it is for uploads.
  await left.getByRole('row').filter({ hasText: 'note (2).txt' }).click();
  const question = page.getByRole('alertdialog', { name: 'There is a note (2).txt already' });
  for (const [answer, there] of [['', 'note (2).txt'], ['Keep both', 'note (2) (2).txt'], ['Replace', 'note (2).txt']] as const) {
    await left.getByRole('button', { name: 'Copy to the other side' }).click();
    if (answer) {
      await expect(question).toContainText(`In / of ${SHARE}.`);
      await clean(page);
      await question.getByRole('button', { name: answer }).click();
    }
    await expect(right.getByRole('row').filter({ hasText: there })).toBeVisible({ timeout: 20_000 });
    await expect(job(page).getByTestId('job-state')).toHaveText(/^Done/, { timeout: 20_000 });
  }
});

test('the file session tells all of it, and is exported', async ({ page }) => {
  const id = await sftp(page.request);
  await page.goto(`/ui/file-sessions?connectionId=${id}&q=film.bin`);
  const grid = page.getByRole('grid', { name: 'File sessions' });
  await expect(grid.getByText(NAME).first()).toBeVisible();
  await clean(page);
  await grid.getByText(NAME).last().click();
  await expect(page.getByRole('heading', { level: 1 })).toContainText(NAME);
  await page.getByRole('searchbox', { name: 'Search the events by path' }).fill('film.bin');
  const events = page.getByRole('grid', { name: 'Events' });
  await expect(events.getByText('Uploaded').first()).toBeVisible();
  await clean(page);
  await events.getByText('Uploaded').first().click();
  await expect(page.getByRole('dialog', { name: 'Uploaded' })).toContainText('/e2e/film.bin');
  await page.keyboard.press('Escape');
  const [csv] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Export the events as CSV' }).click()]);
  expect(readFileSync(await csv.path(), 'utf8')).toMatch(/film\.bin/);
  await page.getByLabel('What', { exact: true }).selectOption('delete');
  await expect(page).toHaveURL(/action=delete/);
});

test('files and their sessions fit a narrow screen', async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  const fits = async () => {
    expect(await page.evaluate(() => [document.documentElement, document.querySelector('main')!].map((element) => element.scrollWidth))).toEqual([390, 390]);
    await clean(page);
  };
  await open(page);
  await expect(entry(page, 'film.bin')).toBeVisible();
  await fits();
  await entry(page, 'film.bin').click();
  for (const name of ['Select none', 'Download', 'Delete', 'More for what is selected']) await expect(page.getByRole('toolbar').getByRole('button', { name, exact: true })).toBeInViewport({ ratio: 1 });
  await fits();
  const id = await sftp(page.request);
  await page.goto(`/ui/file-sessions?connectionId=${id}&q=film.bin`);
  const grid = page.getByRole('grid', { name: 'File sessions' });
  await expect(grid.getByText(NAME).first()).toBeVisible();
  await fits();
  await grid.getByText(NAME).last().click();
  await expect(page.getByRole('grid', { name: 'Events' }).getByRole('row').nth(1)).toBeVisible();
  await fits();
});
