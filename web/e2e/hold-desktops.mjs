// People who look at a desktop: `node hold-desktops.mjs URL TOKEN CONNECTION PEOPLE`. Opens it in so many pages, prints
// `shown` once all of them show its picture, and holds them until its standard input ends. Then it prints how many are
// still connected.
import { chromium } from '@playwright/test';

const [url, token, connection, people] = process.argv.slice(2);

/** In the page: whether the canvas shows anything but black. */
function shows() {
  const canvas = document.querySelector('[data-testid=desktop] canvas');
  if (!canvas?.width || !canvas.height) return false;
  const pixels = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data;
  return !!pixels?.some((byte, at) => at % 4 !== 3 && byte !== 0);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const options = { baseURL: url, extraHTTPHeaders: { Authorization: `Bearer ${token}` }, viewport: { width: 1300, height: 860 } };
  const pages = [];
  for (let one = 0; one < Number(people); one++) {
    // Each is somebody of their own: the pages of one have six connections in all, of which each follows the server with one.
    const context = await browser.newContext(options);
    const page = await context.newPage();
    await page.goto(`/ui/desktop/${connection}`);
    await page.waitForFunction(shows, undefined, { timeout: 60_000, polling: 200 });
    pages.push(page);
  }
  console.log('shown');
  await new Promise((done) => process.stdin.on('end', done).resume());
  const states = await Promise.all(pages.map((page) => page.getByTestId('desktop-state').textContent()));
  console.log(states.filter((state) => state === 'Connected').length);
} finally {
  await browser.close();
}
