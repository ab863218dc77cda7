// Pages that are logged in, and that may neither complain nor ask anybody else for anything.
import { execSync } from 'node:child_process';
import { test as base, expect, type APIRequestContext, type Page } from '@playwright/test';

export const NAME = process.env.SOJOURN_USER ?? 'admin';
export const PASSWORD = process.env.SOJOURN_PASSWORD ?? 'correct horse battery';
export const HOST_MAC = process.env.SOJOURN_E2E_APPEAR_MAC ?? '24:0A:C4:00:07:20';

export async function login(request: APIRequestContext, name = NAME, password = PASSWORD): Promise<void> {
  const answer = await request.post('/api/v1/auth/login', { data: { name, password } });
  expect(answer.status(), await answer.text()).toBe(200);
}

/** Makes a host appear on the network, really where the harness can. */
export async function appear(request: APIRequestContext): Promise<void> {
  const command = process.env.SOJOURN_E2E_APPEAR_CMD;
  if (command) {
    execSync(command, { stdio: 'ignore' });
    return;
  }
  await report(request, HOST_MAC, '10.99.7.20', 'late-host');
}

export async function report(request: APIRequestContext, mac: string, ip: string, hostname: string): Promise<void> {
  const answer = await request.post('/api/v1/presence/sightings', { data: { source: 'e2e', sightings: [{ mac, ip, hostname }] } });
  expect(answer.status(), await answer.text()).toBe(200);
}

/** What the page's console, its scripts and its policy complained about, and what it asked of others. */
function watch(page: Page, complaints: string[], origin: string): void {
  page.on('pageerror', (error) => complaints.push(`script: ${error.message}`));
  page.on('console', (message) => {
    // A refused request is the server's word, and shown by the page.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) complaints.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(origin) && !/^(data|blob):/.test(request.url())) complaints.push(`foreign request: ${request.url()}`);
  });
}

export const test = base.extend<{ anonymous: Page; page: Page }>({
  anonymous: async ({ browser, baseURL }, use) => {
    const context = await browser.newContext({ baseURL: baseURL!, viewport: { width: 1280, height: 860 } });
    const page = await context.newPage();
    const complaints: string[] = [];
    watch(page, complaints, baseURL!);
    await use(page);
    expect(complaints).toEqual([]);
    await context.close();
  },
  page: async ({ page, baseURL }, use) => {
    const complaints: string[] = [];
    watch(page, complaints, baseURL!);
    await login(page.request);
    await use(page);
    expect(complaints).toEqual([]);
  },
});

export { expect };
