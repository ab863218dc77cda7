import { readFile } from 'node:fs/promises';

// Answers the API in development and preview when no server is named by SOJOURN_API.
// Log in as admin, password sojourn-demo; MOCK_SETUP_CODE=x starts without users, MOCK_DEVICES=0 without devices.
const NEEDS = [
  [/^\/users\/[^/]+\/keys/, 'presence.view'], [/^\/(users)/, 'users.manage'], [/^\/roles/, 'users.manage'], [/^\/audit/, 'audit.view'],
  [/^\/(devices|presence|sources)/, 'presence.view'], [/^\/(connections|sessions|nodes|files|file-sessions)/, 'presence.view'],
];

async function handler() {
  const [{ presenceRoutes, subscribe, currentCounts }, { identityRoutes, userOf, permissionsOf }, { accessRoutes }, { fileRoutes }] = await Promise.all([import('./presence.mjs'), import('./identity.mjs'), import('./access.mjs'), import('./files.mjs')]);
  const routes = [...fileRoutes, ...accessRoutes, ...identityRoutes, ...presenceRoutes];
  return async (req, res, next) => {
    const url = new URL(req.url, 'http://mock');
    const mounted = url.pathname.startsWith('/api/v1/');
    const path = mounted ? url.pathname.slice(7) : url.pathname;
    if (!mounted && path !== '/docs' && path !== '/openapi.json') return next();
    const answer = (status, body, type = 'application/json') => { res.statusCode = status; res.setHeader('Content-Type', type); res.end(JSON.stringify(body)); };
    const problem = (status, detail, errors, code = `http_${status}`) => answer(status, { type: 'about:blank', title: detail, status, code, detail, success: false, error: detail, errors }, 'application/problem+json');
    if (path === '/docs') { req.url = '/ui/docs.html'; return next(); }
    if (path === '/openapi.json') return readFile('../openapi.json', 'utf8').then((text) => answer(200, JSON.parse(text)), () => problem(404, 'there is no openapi.json yet'));
    const user = userOf(req);
    const need = NEEDS.find(([re]) => re.test(path))?.[1];
    if (need && !user) return problem(401, 'log in first');
    if (need && !permissionsOf(user).includes(need)) return problem(403, `this needs the permission ${need}`);
    if (path === '/presence/stream') {
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
      const send = (name, data, id) => res.write(`event: ${name}\n${id ? `id: ${id}\n` : ''}data: ${JSON.stringify(data)}\n\n`);
      send('counts', currentCounts());
      const stop = subscribe(send), beat = setInterval(() => res.write(': beat\n\n'), 15_000);
      return req.on('close', () => (stop(), clearInterval(beat)));
    }
    const found = routes.find(([method, re]) => method === req.method && re.test(path));
    if (!found) return problem(404, 'no such path');
    const chunks = [];
    try {
      for await (const chunk of req) chunks.push(chunk);
      const raw = Buffer.concat(chunks), json = raw.length > 0 && (req.headers['content-type'] ?? '').includes('json');
      const out = await found[2]({ q: url.searchParams, m: found[1].exec(path), body: json ? JSON.parse(raw.toString()) : {}, raw, req, res, user, perms: permissionsOf(user) });
      if (res.writableEnded || res.destroyed || out === undefined && res.headersSent) return;
      if (Array.isArray(out)) answer(out[0], out[1]); else answer(200, out);
    } catch (error) {
      if (res.destroyed || res.headersSent) return res.destroy();
      if (!error.status) console.error(error);
      problem(error.status ?? 500, error.detail ?? String(error), error.errors, error.code);
    }
  };
}

export function apiMock() {
  const use = async (server) => {
    if (process.env.VITEST) return;
    server.middlewares.use(await handler());
    const { upgrade } = await import('./access.mjs');
    server.httpServer?.on('upgrade', upgrade);
  };
  return { name: 'sojourn-api-mock', configureServer: use, configurePreviewServer: use };
}
