// How long a person waits for the rows of a folder: `node first-rows.mjs URL TOKEN CONNECTION FOLDER ENTRIES`.
// Prints, for each of some rounds, the milliseconds from the key that asks for the folder to the frame that shows
// its first rows, and to the one that says that all are there, as lines of JSON.
import { chromium } from '@playwright/test';

const ROUNDS = 5;
const [url, token, connection, folder, entries] = process.argv.slice(2);
const count = `${Number(entries).toLocaleString('en')} entries`;

/** In the page: begins to measure with the next Enter. */
function arm({ folder, count }) {
  window.times = {};
  const look = (begun) => {
    const now = performance.now() - begun;
    if (document.querySelector(`[data-path^="${folder}/"]`)) window.times.first ??= now;
    if (document.querySelector('[data-testid=count]')?.textContent.startsWith(count)) window.times.all = now;
    else requestAnimationFrame(() => look(begun));
  };
  const begin = (event) => {
    if (event.key !== 'Enter') return;
    removeEventListener('keydown', begin, { capture: true });
    look(performance.now());
  };
  addEventListener('keydown', begin, { capture: true });
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const context = await browser.newContext({ baseURL: url, extraHTTPHeaders: { Authorization: `Bearer ${token}` }, viewport: { width: 1280, height: 860 } });
  const page = await context.newPage();
  for (let round = 0; round < ROUNDS; round++) {
    await page.goto(`/ui/files/${connection}?path=/etc/ssh`);
    await page.getByTestId('count').getByText(/entr/).waitFor();
    await page.getByRole('button', { name: 'Type a path' }).click();
    const field = page.getByRole('textbox', { name: 'Path of the folder' });
    await field.fill(folder);
    await page.evaluate(arm, { folder, count });
    await field.press('Enter');
    await page.waitForFunction(() => window.times.all !== undefined, undefined, { timeout: 60_000 });
    console.log(JSON.stringify(await page.evaluate(() => window.times)));
  }
} finally {
  await browser.close();
}
