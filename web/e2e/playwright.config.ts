import { defineConfig } from '@playwright/test';

// Debian's Chromium; Playwright's own is never downloaded.
export default defineConfig({
  testDir: '.',
  outputDir: '../test-results',
  workers: 1,
  fullyParallel: false,
  maxFailures: 10,
  // A loaded machine may show a page between two states; what passed only then is said so.
  retries: 1,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [['list'], ['./reporter.mjs']],
  use: {
    baseURL: process.env.SOJOURN_URL ?? 'http://127.0.0.1:4173',
    viewport: { width: 1280, height: 860 },
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    },
  },
});
