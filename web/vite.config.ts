import { svelte } from '@sveltejs/vite-plugin-svelte';
import tailwindcss from '@tailwindcss/vite';
import { defineConfig } from 'vitest/config';
import type { Plugin } from 'vite';
import { apiMock } from './mock/plugin.mjs';

// With SOJOURN_API=http://127.0.0.1:8080 the development and preview servers pass API requests on to
// a real server; without it a seeded mock answers them.
const api = process.env.SOJOURN_API;
const apiPaths =
  '^/(auth|users|roles|tokens|audit|devices|presence|sessions|file-sessions|files|sources|connections|terminal|nodes|api|openapi\\.json|healthz|readyz|metrics)(/|\\?|$)';
const proxy = api ? { [apiPaths]: { target: api, changeOrigin: false, ws: true } } : undefined;

// What the Rust server sends, so that a breach shows in development already.
const headers = {
  'Content-Security-Policy':
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
};

/** The terminal writes a cell's colours into the style attribute as text, which the policy forbids; set as properties
 *  they are the same, and allowed. Fails where a newer terminal does it in another way. */
function terminalColours(): Plugin {
  const before = 't.setAttribute("style",`${t.getAttribute("style")||""}${e};`)';
  return {
    name: 'sojourn-terminal-colours',
    transform(code, id) {
      if (!id.includes('@xterm/xterm/lib/')) return null;
      if (!code.includes(before)) throw new Error('the terminal sets the colours of its cells in an unknown way: see terminalColours');
      return { code: code.replace(before, 't.style.cssText+=`${e};`'), map: null };
    },
  };
}

export default defineConfig({
  base: '/ui/',
  plugins: [tailwindcss(), svelte(), terminalColours(), ...(api ? [] : [apiMock()])],
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
