import { appendFileSync } from 'node:fs';
const say = (...a) => appendFileSync('/tmp/fr.out', a.join(' ') + '\n');
import { chromium } from '@playwright/test';
const [url, token, connection, folder, entries] = process.argv.slice(2);
const count = `${Number(entries).toLocaleString('en')} entries`;
function arm({ folder, count }) {
  window.times = {};
  const look = (begun) => {
    const now = performance.now() - begun;
    window.times.frames = (window.times.frames ?? []); window.times.frames.push(Math.round(now));
    if (document.querySelector(`[data-path^="${folder}/"]`)) window.times.first ??= now;
    if (document.querySelector('[data-testid=count]')?.textContent.startsWith(count)) window.times.all = now;
    else requestAnimationFrame(() => look(begun));
  };
  const begin = (event) => {
    if (event.key !== 'Enter') return;
    removeEventListener('keydown', begin, { capture: true });
    performance.mark('enter');
    look(performance.now());
  };
  addEventListener('keydown', begin, { capture: true });
}
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
const context = await browser.newContext({ baseURL: url, extraHTTPHeaders: { Authorization: `Bearer ${token}` }, viewport: { width: 1280, height: 860 } });
const page = await context.newPage();
const cdp = await context.newCDPSession(page);
for (let round = 0; round < 4; round++) {
  await page.goto(`/ui/files/${connection}?path=/etc/ssh`);
  await page.getByTestId('count').getByText(/entr/).waitFor();
  await page.getByRole('button', { name: 'Type a path' }).click();
  const field = page.getByRole('textbox', { name: 'Path of the folder' });
  await field.fill(folder);
  await page.evaluate(arm, { folder, count });
  const events = [];
  const traced = round === 3;
  if (traced) {
    cdp.on('Tracing.dataCollected', (e) => events.push(...e.value));
    await cdp.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['devtools.timeline', 'blink.user_timing', 'v8.execute', 'toplevel'] } });
  }
  await field.press('Enter');
  await page.waitForFunction(() => window.times.all !== undefined, undefined, { timeout: 60_000 });
  const t = await page.evaluate(() => window.times);
  console.log(JSON.stringify({first:t.first,all:t.all}));
  say(t.first, t.all, t.frames.slice(0, 8).join(' '));
  if (traced) {
    const done = new Promise((r) => cdp.once('Tracing.tracingComplete', r));
    await cdp.send('Tracing.end'); await done;
    const enter = events.find((e) => e.name === 'enter');
    const main = events.filter((e) => e.pid === enter.pid && e.tid === enter.tid && e.ph === 'X' && e.dur > 1500 && e.ts > enter.ts - 5000 && e.ts < enter.ts + 400000);
    main.sort((a, b) => a.ts - b.ts);
    for (const e of main) say(((e.ts - enter.ts) / 1000).toFixed(1).padStart(8), (e.dur / 1000).toFixed(1).padStart(7), e.name, JSON.stringify(e.args?.data ?? {}).slice(0, 110));
    for (const e of events.filter((e) => e.pid === enter.pid && /^Resource(SendRequest|ReceiveResponse|ReceivedData)$/.test(e.name) && e.ts > enter.ts && e.ts < enter.ts + 300000).slice(0, 15)) say(((e.ts - enter.ts) / 1000).toFixed(1), e.name, e.args.data.url ?? e.args.data.encodedDataLength);
  }
}
await browser.close();
