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

/** IronRDP brings its program as text in the script, which costs a third more and which the policy forbids to fetch: here it is a
 *  file. And it opens a socket of its own, where ours carries words, too. Fails where a newer one does it in another way. */
function ironRdp(): Plugin {
  const data = /"data:application\/wasm;base64,([A-Za-z0-9+/=]+)"/;
  const socket = /return new WebSocket\(/;
  let build = false;
  return {
    name: 'sojourn-iron-rdp',
    configResolved(config) {
      build = config.command === 'build';
    },
    transform(code, id) {
      if (!id.includes('@devolutions/iron-remote-desktop-rdp/')) return null;
      const program = data.exec(code);
      if (!program || !socket.test(code)) throw new Error('IronRDP loads its program or opens its socket in an unknown way: see ironRdp');
      let changed = `import { openSocket } from '/src/lib/desktop/rdp/socket.ts';\n${code.replace(socket, 'return openSocket(')}`;
      if (build) {
        const file = this.emitFile({ type: 'asset', name: 'iron-rdp.wasm', source: Buffer.from(program[1]!, 'base64') });
        changed = changed.replace(data, `import.meta.ROLLUP_FILE_URL_${file}`);
      }
      return { code: changed, map: null };
    },
  };
}

export default defineConfig({
  base: '/ui/',
  plugins: [tailwindcss(), svelte(), terminalColours(), ironRdp(), ...(api ? [] : [apiMock()])],
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    manifest: true,
    assetsInlineLimit: 0,
    rollupOptions: { input: { index: 'index.html', docs: 'docs.html' } },
  },
  optimizeDeps: { exclude: ['@devolutions/iron-remote-desktop-rdp'] },
  server: { proxy, port: 5173 },
  preview: { proxy, headers, port: 4173 },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
