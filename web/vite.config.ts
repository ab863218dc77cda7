import { svelte } from '@sveltejs/vite-plugin-svelte';
import tailwindcss from '@tailwindcss/vite';
import { defineConfig } from 'vitest/config';
import { apiMock } from './mock/plugin.mjs';

// With SOJOURN_API=http://127.0.0.1:8080 the development and preview servers pass API requests on to
// a real server; without it a seeded mock answers them.
const api = process.env.SOJOURN_API;
const apiPaths =
  '^/(auth|users|roles|tokens|audit|devices|presence|sessions|sources|connections|terminal|nodes|api|openapi\\.json|healthz|readyz|metrics)(/|\\?|$)';
const proxy = api ? { [apiPaths]: { target: api, changeOrigin: false, ws: true } } : undefined;

// What the Rust server sends, so that a breach shows in development already.
const headers = {
  'Content-Security-Policy':
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
};

export default defineConfig({
  base: '/ui/',
  plugins: [tailwindcss(), svelte(), ...(api ? [] : [apiMock()])],
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    manifest: true,
    assetsInlineLimit: 0,
    rollupOptions: { input: { index: 'index.html', docs: 'docs.html' } },
  },
  server: { proxy, port: 5173 },
  preview: { proxy, headers, port: 4173 },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
