// Files on make-believe targets, and the file sessions of the mock.
import { createHash } from 'node:crypto';
import { connections, fail, id, iso, listing, people } from './access.mjs';

const START = Date.now();
const HOUR = 3_600_000;
const FILES = new Set(['ssh', 'sftp', 'ftp', 'smb']);
const trees = new Map();
const at = (n) => START - n * 37 * 60_000;
const folder = (children = {}, more = {}) => ({ kind: 'folder', children: new Map(Object.entries(children)), modified: at(3), permissions: '0755', owner: 'root', group: 'root', ...more });
const file = (data, more = {}) => ({ kind: 'file', data: Buffer.isBuffer(data) ? data : Buffer.from(data), modified: at(20), permissions: '0644', owner: 'root', group: 'root', ...more });
const PNG = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAZ0lEQVR4nO3PQQ0AIBDAsAP/nuGNAvZoFSzZOnfu8K0DvhhgQMuAlgEtA1oGtAxoGdAyoGVAy4CWAS0DWga0DGgZ0DKgZUDLgJYBLQNaBrQMaBnQMqBlQMuAlgEtA1oGtAxoGdAyoGVAy4CWAS0DHlqbAf1F3oYzAAAAAElFTkSuQmCC', 'base64');
function tree(connection) {
  const known = trees.get(connection.id);
  if (known) return known;
  const many = folder();
  for (let i = 0; i < Number(process.env.MOCK_FILES ?? 100_000); i++) many.children.set(`measurement-${i}.csv`, { kind: 'file', size: (i * 7919) % 90_000, modified: at(i % 4000), permissions: '0644', owner: 'sensor', group: 'sensor' });
  const root = folder({
    home: folder({ [connection.username || 'guest']: folder({
      Documents: folder({ 'notes.txt': file('Restart nginx with care.\nThe certificate is renewed on Mondays.\n', { modified: at(1) }), 'budget 2026.csv': file('month,amount\nJanuary,1200\nFebruary,1100\n'), 'Übersicht.md': file('# Übersicht\n\n- eins\n- zwei\n') }, { modified: at(1) }),
      Pictures: folder({ 'rack.png': file(PNG), 'plan.svg': file('<svg xmlns="http://www.w3.org/2000/svg"/>') }), archive: folder(), many,
      'readme.txt': file('This host serves the shop.\n'), 'deploy.sh': file('#!/bin/sh\nset -e\nsystemctl reload nginx\n', { permissions: '0755' }), 'backup-2026-10.tar.gz': { kind: 'file', size: 18_734_112_300, modified: at(400), permissions: '0600', owner: 'root', group: 'root' },
      'caf\\xe9.txt': file('latin1 name', { raw: 'caf%E9.txt' }), '.bashrc': file('alias ll="ls -la"\n'), '.ssh': folder({ authorized_keys: file('ssh-ed25519 AAAA ada@laptop\n', { permissions: '0600' }) }, { permissions: '0700' }),
      current: { kind: 'link', linkTarget: 'archive', modified: at(2), permissions: '0777', owner: 'root', group: 'root', size: 7 }, broken: { kind: 'link', linkTarget: '/nowhere', modified: at(2), permissions: '0777', owner: 'root', group: 'root', size: 8 },
    }) }),
    etc: folder({ hosts: file('127.0.0.1 localhost\n'), shadow: file('secret', { permissions: '0640', locked: true }) }), srv: folder({ www: folder({ 'index.html': file('<!doctype html><title>Shop</title>') }) }), tmp: folder(), secret: folder({}, { locked: true }),
  });
  trees.set(connection.id, root);
  return root;
}
const decode = (raw) => raw.split('/').filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part.replace(/%([89a-f][0-9a-f])/gi, (_, h) => `\\x${h.toLowerCase()}`); } });
const parts = (path) => decode(typeof path === 'string' ? path.split('/').map(encodeURIComponent).join('/') : path.raw);
const queryPath = (req) => { const found = /[?&]path=([^&]*)/.exec(req.url); return found ? decode(found[1]) : null; };
const text = (path) => `/${path.join('/')}`;
function find(root, path, follow = true, depth = 0) {
  let node = root;
  const seen = [];
  for (const [i, part] of path.entries()) {
    node = node.kind === 'folder' ? node.children.get(part) : undefined;
    if (!node) fail(404, `${text(path)}: no such file or folder`, undefined, 'not_found');
    if (node.kind === 'link' && (follow || i < path.length - 1)) { if (depth > 8) fail(502, 'too many links', undefined, 'target_failed'); node = find(root, node.linkTarget.startsWith('/') ? decode(node.linkTarget) : [...seen, ...decode(node.linkTarget)], true, depth + 1); }
    seen.push(part);
  }
  return node;
}
const parent = (root, path) => { const up = find(root, path.slice(0, -1)); if (up.kind !== 'folder') fail(409, `${text(path.slice(0, -1))} is no folder`, undefined, 'not_a_folder'); return up; };
const sizeOf = (node) => (node.kind === 'folder' ? null : (node.data?.length ?? node.size ?? 0));
const entry = (node, path) => ({ name: path.at(-1) ?? '', path: text(path), kind: node.kind, size: sizeOf(node), modified: iso(node.modified), permissions: node.permissions, owner: node.owner, group: node.group, linkTarget: node.linkTarget ?? null, ...(node.raw ? { rawPath: `${path.slice(0, -1).map((p) => `/${encodeURIComponent(p)}`).join('')}/${node.raw}` } : {}) });
const etag = (node) => `"${(sizeOf(node) ?? 0).toString(16)}-${node.modified.toString(16)}"`;
const POLICY = { readOnly: false, noDelete: false, maxUploadBytes: null, maxDownloadBytes: null, allow: [], deny: [] };
const policyOf = (c) => ({ ...POLICY, ...c.policy.files });
const capabilities = (c) => ({ copy: c.protocol !== 'ftp', renameOver: true, links: c.protocol !== 'smb', permissions: c.protocol !== 'smb', times: true, resumeUpload: true, ...policyOf(c), allow: undefined, deny: undefined });

// --- file sessions ------------------------------------------------------------------------------------------
const sessions = [];
const events = new Map();
const open = new Map();
const passwords = new Set();
const ACTIONS = ['browse', 'download', 'upload', 'browse', 'rename', 'upload', 'delete', 'mkdir', 'browse', 'chmod', 'copy', 'link', 'truncate'];
function session(c, user, tab) {
  const key = `${user.id} ${c.id} ${tab ?? ''}`;
  const known = open.get(key);
  if (known?.live) return known;
  const made = { id: id('fsess'), userId: user.id, username: user.name, protocol: c.protocol === 'ssh' ? 'sftp' : c.protocol, startedAt: iso(Date.now()), endedAt: null, connectionId: c.id, connectionName: c.name, eventCount: 0, live: true, clientAddress: '127.0.0.1', clientKind: 'web', target: `${c.username}@${c.host}:${c.port}`, endReason: null, endDetail: null, accessSessionId: null, bytesUp: 0, bytesDown: 0, failedCount: 0, legalHold: false, node: 'node-a' };
  sessions.push(made);
  events.set(made.id, []);
  open.set(key, made);
  return made;
}
function note(s, action, path, more = {}) {
  const list = events.get(s.id), size = more.size ?? null, outcome = more.outcome ?? 'ok';
  list.push({ id: id('evt'), timestamp: more.timestamp ?? iso(Date.now()), action, path, detail: more.detail ?? (size === null ? '' : `${size} bytes`), newPath: null, size, sha256: null, outcome, error: null, durationMs: 4, offset: 0, entries: null, ...more, timestamp: more.timestamp ?? iso(Date.now()) });
  s.eventCount += 1;
  if (outcome !== 'ok') s.failedCount += 1;
  if (action === 'upload') s.bytesUp += size ?? 0;
  if (action === 'download') s.bytesDown += size ?? 0;
}
for (let i = 0; i < (connections.length ? Number(process.env.MOCK_FILE_SESSIONS ?? 180) : 0); i++) {
  const able = connections.filter((c) => FILES.has(c.protocol)), c = able[(i * 5) % able.length], [userId, username] = people[(i * 7) % 3], began = START - i * 3.1 * HOUR - HOUR, native = i % 3 === 1;
  const s = { id: id('fsess'), userId, username, protocol: c.protocol !== 'ssh' ? c.protocol : native ? ['sftp', 'scp', 'rsync'][i % 3] ?? 'sftp' : 'sftp', startedAt: iso(began), endedAt: i < 2 ? null : iso(began + (40 + ((i * 7919) % 3000)) * 1000), connectionId: c.id, connectionName: c.name, eventCount: 0, live: i < 2, clientAddress: i % 2 ? '10.0.4.20' : '192.168.7.31', clientKind: native ? 'native' : 'web', target: `${c.username}@${c.host}:${c.port}`, endReason: i < 2 ? null : ['closed', 'closed', 'idle', 'client_lost', 'terminated'][i % 5], endDetail: null, accessSessionId: null, bytesUp: 0, bytesDown: 0, failedCount: 0, legalHold: i === 4, node: 'node-a' };
  sessions.push(s);
  events.set(s.id, []);
  for (let n = 0; n < (i === 2 ? 4000 : 6 + (i % 30)); n++) {
    const action = ACTIONS[(n + i) % ACTIONS.length], path = action === 'browse' || action === 'mkdir' ? `/srv/www/${n % 7 ? `release-${n % 7}` : ''}` : `/srv/www/release-${n % 7}/${['index.html', 'app.js', 'photo 1.jpg', '=cmd().csv'][n % 4]}`, bad = n % 17 === 11;
    const size = ['download', 'upload', 'copy'].includes(action) ? (bad ? 4096 : ((n * 104_729) % 9_000_000) + 12) : null;
    note(s, action, path, { timestamp: iso(began + n * 800), size, entries: action === 'browse' ? 12 + n : null, detail: action === 'browse' ? `${12 + n} entries` : size ? `${(size / 1000).toFixed(1)} kB` : '', newPath: ['rename', 'copy', 'link'].includes(action) ? `${path}.old` : null, sha256: size && !bad ? createHash('sha256').update(`${i}${n}`).digest('hex') : null, outcome: bad ? ['failed', 'denied', 'interrupted'][n % 3] : 'ok', error: bad ? ['permission denied by the target', 'the connection is read-only', 'the client went away'][n % 3] : '', durationMs: (n * 37) % 9000 });
  }
}
const own = (s, user, perms) => perms.includes('sessions.view_any') || s.userId === user.id;
const sessionOf = (m, user, perms) => { const s = sessions.find((one) => one.id === m[1]); return s && own(s, user, perms) ? s : fail(404, 'there is no such file session', undefined, 'not_found'); };
const cell = (value) => { let out = value === null ? '' : String(value); if (/^[=+\-@\t\r]/.test(out)) out = `'${out}`; return /[",\r\n]/.test(out) ? `"${out.replaceAll('"', '""')}"` : out; };

// --- operations -------------------------------------------------------------------------------------------------
const uploads = new Map();
/** Runs `act` for a connection that may be used, and writes failed operations down. */
const on = (act, action) => (given) => {
  const { m, user, req, res, q } = given, c = connections.find((one) => one.id === m[1]) ?? fail(404, 'there is no such connection', undefined, 'not_found');
  if (!FILES.has(c.protocol) || !c.policy.allowFiles) fail(403, 'the policy of this connection allows no files', undefined, 'files_not_allowed');
  if (c.host === 'nowhere') fail(502, `${c.host} did not answer within 10 s`, undefined, 'target_unreachable');
  if (c.host === 'changed.lan') fail(502, 'the host key is another one than the pinned one', undefined, 'target_host_key');
  const tab = req.headers['sojourn-tab'] ?? q.get('tab');
  if (c.auth === 'prompt' && !passwords.has(`${c.id} ${tab}`) && action !== 'login') fail(409, `this connection asks for the target's password`, undefined, 'password_needed');
  const s = session(c, user, tab), root = tree(c), path = queryPath(req);
  res.setHeader('Sojourn-File-Session', s.id);
  const denied = (what, size = 0) => {
    const p = policyOf(c);
    const why = p.readOnly ? 'the connection is read-only' : p.noDelete && (what === 'delete') ? 'nothing may be deleted or replaced on this connection' : p.maxUploadBytes !== null && size > p.maxUploadBytes ? `files of more than ${p.maxUploadBytes} bytes may not be sent to this connection` : null;
    if (!why) return;
    note(s, what, text(path ?? []), { outcome: 'denied', error: why });
    fail(size && !p.readOnly ? 413 : 403, why, undefined, size && !p.readOnly ? 'upload_limit' : 'denied_by_policy');
  };
  return act({ ...given, c, s, root, path, tab, denied });
};
const put = (root, path, data, { overwrite, modified } = {}) => {
  const up = parent(root, path), name = path.at(-1), old = up.children.get(name);
  if (old && !overwrite) fail(409, `${text(path)} exists already`, undefined, 'exists');
  if (old?.kind === 'folder') fail(409, `${text(path)} is a folder`, undefined, 'is_a_folder');
  const made = file(data, { modified: modified ?? Date.now(), permissions: old?.permissions ?? '0644' });
  up.children.set(name, made);
  return made;
};
const lines = (res) => { res.setHeader('Content-Type', 'application/x-ndjson'); return (line) => res.write(`${JSON.stringify(line)}\n`); };
const slow = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const clone = (node) => (node.kind === 'folder' ? { ...node, children: new Map([...node.children].map(([name, child]) => [name, clone(child)])) } : { ...node });
const countOf = (node) => (node.kind === 'folder' ? 1 + [...node.children.values()].reduce((n, child) => n + countOf(child), 0) : 1);
const bytesOf = (node) => (node.kind === 'folder' ? [...node.children.values()].reduce((n, child) => n + bytesOf(child), 0) : sizeOf(node));

export const fileRoutes = [
  ['GET', /^\/files\/([^/]+)\/list$/, on(async ({ root, path, c, s, res, req }) => {
    const where = path ?? (c.protocol === 'smb' || c.protocol === 'ftp' ? [] : ['home', c.username || 'guest']), node = find(root, where);
    if (node.kind !== 'folder') fail(409, `${text(where)} is no folder`, undefined, 'not_a_folder');
    if (node.locked) { note(s, 'browse', text(where), { outcome: 'failed', error: 'permission denied' }); fail(403, `${text(where)}: the target refused it`, undefined, 'denied_by_target'); }
    res.setHeader('Content-Type', 'application/json');
    res.write(`{"path":${JSON.stringify(text(where))},"capabilities":${JSON.stringify(capabilities(c))},"entries":[`);
    let n = 0;
    for (const [name, child] of node.children) { res.write((n ? ',' : '') + JSON.stringify(entry(child, [...where, name]))); if (++n % 4000 === 0) await slow(15); if (res.destroyed) return; }
    note(s, 'browse', text(where), { entries: n, detail: `${n} entries` });
    res.end(']}');
  })],
  ['GET', /^\/files\/([^/]+)\/stat$/, on(({ root, path, c }) => { const node = find(root, path); return { ...entry(node, path), etag: etag(node), capabilities: capabilities(c) }; })],
  ['GET', /^\/files\/([^/]+)\/content$/, on(({ root, path, s, req, res, q }) => {
    const node = find(root, path);
    if (node.kind !== 'file') fail(409, `${text(path)} is a folder`, undefined, 'is_a_folder');
    if (node.locked) { note(s, 'download', text(path), { outcome: 'failed', error: 'permission denied' }); fail(403, `${text(path)}: the target refused it`, undefined, 'denied_by_target'); }
    const data = node.data ?? Buffer.alloc(Math.min(node.size, 1e6), 65), range = /bytes=(\d+)-(\d*)/.exec(req.headers.range ?? ''), from = range ? Number(range[1]) : 0, to = range?.[2] ? Math.min(Number(range[2]) + 1, data.length) : data.length;
    if (range && from >= data.length) fail(416, 'there is nothing there', undefined, 'range');
    const name = path.at(-1), type = /\.png$/.test(name) ? 'image/png' : q.get('download') ? 'application/octet-stream' : 'text/plain; charset=utf-8';
    res.writeHead(range ? 206 : 200, { 'Content-Type': type, ETag: etag(node), 'Content-Length': to - from, 'Content-Disposition': `${q.get('download') ? 'attachment' : 'inline'}; filename*=UTF-8''${encodeURIComponent(name)}`, 'Content-Security-Policy': 'sandbox', 'X-Content-Type-Options': 'nosniff' });
    res.end(data.subarray(from, to));
    note(s, 'download', text(path), { size: to - from, sha256: range ? null : createHash('sha256').update(data).digest('hex'), offset: from });
  })],
  ['PUT', /^\/files\/([^/]+)\/content$/, on(async ({ root, path, s, req, q, raw, denied }) => {
    denied('upload', raw.length);
    const match = req.headers['if-match'], up = parent(root, path), old = up.children.get(path.at(-1));
    if (match && (!old || etag(old) !== match)) fail(412, `${text(path)} has changed since it was read`, undefined, 'changed');
    if (raw.length > 100_000) await slow(60);
    const made = put(root, path, raw, { overwrite: q.get('overwrite') === '1' }), sha256 = createHash('sha256').update(raw).digest('hex');
    note(s, 'upload', text(path), { size: raw.length, sha256 });
    return [201, { size: raw.length, sha256, etag: etag(made) }];
  })],
  ['POST', /^\/files\/([^/]+)\/uploads$/, on(({ root, c, body, denied }) => {
    const path = parts(body.path);
    denied('upload', body.size);
    if (parent(root, path).children.has(path.at(-1)) && !body.overwrite) fail(409, `${text(path)} exists already`, undefined, 'exists');
    const made = { id: id('upl'), c: c.id, path, size: body.size, overwrite: body.overwrite, modified: body.modified, offset: 0, hash: createHash('sha256') };
    uploads.set(made.id, made);
    return [201, { id: made.id, path: text(path), size: made.size, offset: 0 }];
  })],
  ['GET', /^\/files\/([^/]+)\/uploads\/([^/]+)$/, on(({ m }) => { const u = uploads.get(m[2]) ?? fail(404, 'there is no such upload', undefined, 'not_found'); return { id: u.id, path: text(u.path), size: u.size, offset: u.offset }; })],
  ['PATCH', /^\/files\/([^/]+)\/uploads\/([^/]+)$/, on(async ({ m, req, res, raw }) => {
    const u = uploads.get(m[2]) ?? fail(404, 'there is no such upload', undefined, 'not_found');
    if (Number(req.headers['upload-offset']) !== u.offset) fail(409, `the next piece begins at ${u.offset}`, undefined, 'offset_mismatch');
    await slow(Number(process.env.MOCK_PIECE_MS ?? 250));
    u.offset += raw.length;
    u.hash.update(raw);
    res.setHeader('Upload-Offset', u.offset);
    return { id: u.id, path: text(u.path), size: u.size, offset: u.offset };
  })],
  ['POST', /^\/files\/([^/]+)\/uploads\/([^/]+)\/finish$/, on(({ m, root, s }) => {
    const u = uploads.get(m[2]) ?? fail(404, 'there is no such upload', undefined, 'not_found');
    const made = put(root, u.path, '', { overwrite: u.overwrite, modified: Date.parse(u.modified) });
    delete made.data;
    made.size = u.size;
    uploads.delete(u.id);
    const sha256 = u.hash.digest('hex');
    note(s, 'upload', text(u.path), { size: u.size, sha256 });
    return { size: u.size, sha256, etag: etag(made) };
  })],
  ['DELETE', /^\/files\/([^/]+)\/uploads\/([^/]+)$/, on(({ m, res }) => { uploads.delete(m[2]); res.writeHead(204).end(); })],
  ['POST', /^\/files\/([^/]+)\/mkdir$/, on(({ root, body, s, denied }) => {
    const path = parts(body.path);
    denied('mkdir');
    const made = folder({}, { modified: Date.now() });
    if (body.parents) { let node = root; for (const part of path) { if (!node.children.has(part)) node.children.set(part, folder({}, { modified: Date.now() })); node = node.children.get(part); } }
    else { const up = parent(root, path); if (up.children.has(path.at(-1))) fail(409, `${text(path)} exists already`, undefined, 'exists'); up.children.set(path.at(-1), made); }
    note(s, 'mkdir', text(path));
    return [201, entry(find(root, path), path)];
  })],
  ['POST', /^\/files\/([^/]+)\/rename$/, on(({ root, body, s, denied }) => {
    const [from, to] = [parts(body.from), parts(body.to)], node = find(root, from, false), up = parent(root, to);
    denied('rename');
    if (up.children.has(to.at(-1)) && !body.overwrite) fail(409, `${text(to)} exists already`, undefined, 'exists');
    parent(root, from).children.delete(from.at(-1));
    up.children.set(to.at(-1), { ...node, raw: undefined });
    note(s, 'rename', text(from), { newPath: text(to) });
    return entry(node, to);
  })],
  ['POST', /^\/files\/([^/]+)\/link$/, on(({ root, body, s, denied }) => { const path = parts(body.path); denied('link'); parent(root, path).children.set(path.at(-1), { kind: 'link', linkTarget: body.target, modified: Date.now(), permissions: '0777', owner: 'root', group: 'root', size: body.target.length }); note(s, 'link', text(path), { newPath: body.target }); return [201, entry(find(root, path, false), path)]; })],
  ['POST', /^\/files\/([^/]+)\/chmod$/, on(({ root, body, s, denied, res }) => {
    const path = parts(body.path), set = (node) => { node.permissions = body.permissions.padStart(4, '0'); if (body.recursive && node.children) for (const child of node.children.values()) set(child); };
    denied('chmod');
    set(find(root, path));
    note(s, 'chmod', text(path), { detail: body.permissions });
    if (body.recursive) { const write = lines(res); write({ done: countOf(find(root, path)), failed: 0, bytes: 0, finished: true }); return void res.end(); }
    return entry(find(root, path), path);
  })],
  ['POST', /^\/files\/([^/]+)\/delete$/, on(async ({ root, body, s, denied, res }) => {
    denied('delete');
    const write = lines(res);
    let [done, failed] = [0, 0];
    for (const one of body.paths.map(parts)) {
      const node = find(root, one, false), n = countOf(node);
      for (let i = 0; i < n; i += Math.max(1, Math.ceil(n / 8))) { write({ path: text(one), done: done + i, failed, bytes: 0 }); await slow(40); }
      if (node.locked) { failed += 1; write({ path: text(one), done, failed, bytes: 0, error: 'permission denied', code: 'denied_by_target' }); note(s, 'delete', text(one), { outcome: 'failed', error: 'permission denied' }); continue; }
      parent(root, one).children.delete(one.at(-1));
      done += n;
      note(s, 'delete', text(one));
    }
    write({ done, failed, bytes: 0, finished: true });
    res.end();
  })],
  ['POST', /^\/files\/([^/]+)\/copy$/, on(async ({ root, c, body, s, res, user, tab, denied }) => {
    const [from, to] = [parts(body.from), parts(body.to)], node = find(root, from), target = body.toConnection ? connections.find((one) => one.id === body.toConnection) : c, there = tree(target), up = parent(there, to);
    denied('copy');
    if (up.children.has(to.at(-1)) && !body.overwrite) fail(409, `${text(to)} exists already`, undefined, 'exists');
    const write = lines(res), n = countOf(node), bytes = bytesOf(node);
    for (let i = 0; i < 8; i++) { write({ path: text(from), done: Math.floor((n * i) / 8), failed: 0, bytes: Math.floor((bytes * i) / 8), size: bytes }); await slow(60); }
    up.children.set(to.at(-1), clone(node));
    if (target === c) note(s, 'copy', text(from), { newPath: text(to), size: bytes });
    else { note(s, 'download', text(from), { size: bytes }); note(session(target, user, tab), 'upload', text(to), { size: bytes }); }
    write({ done: n, failed: 0, bytes, finished: true });
    res.end();
  })],
  ['GET', /^\/files\/([^/]+)\/archive$/, on(({ res }) => { res.writeHead(200, { 'Content-Type': 'application/zip', 'Content-Disposition': "attachment; filename=files.zip" }); res.end(Buffer.from('UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==', 'base64')); })],
  ['POST', /^\/files\/([^/]+)\/login$/, on(({ body, c, tab, s }) => { if (body.password === 'wrong') fail(403, 'the target refused the password', undefined, 'login_refused'); passwords.add(`${c.id} ${tab}`); return { fileSession: s.id, capabilities: capabilities(c) }; }, 'login')],
  ['DELETE', /^\/files\/([^/]+)\/session$/, on(({ s, res, c, tab }) => { Object.assign(s, { live: false, endedAt: iso(Date.now()), endReason: 'closed' }); passwords.delete(`${c.id} ${tab}`); res.writeHead(204).end(); }, 'login')],
  ['POST', /^\/files\/([^/]+)\/session\/close$/, on(({ s, res }) => { Object.assign(s, { live: false, endedAt: iso(Date.now()), endReason: 'closed' }); res.writeHead(204).end(); }, 'login')],

  ['GET', /^\/file-sessions$/, ({ q, user, perms }) => listing(q, sessions.filter((s) => own(s, user, perms) && (!q.get('userId') || s.userId === q.get('userId')) && (!q.get('connectionId') || s.connectionId === q.get('connectionId')) && (!q.get('accessSessionId') || s.accessSessionId === q.get('accessSessionId')) && (!q.get('protocol') || s.protocol === q.get('protocol')) && (q.get('live') !== 'true' || s.live) && (!q.get('from') || s.startedAt >= q.get('from')) && (!q.get('to') || s.startedAt < q.get('to')) && (!q.get('q') || events.get(s.id).some((e) => `${e.path} ${e.newPath}`.toLowerCase().includes(q.get('q').toLowerCase())))).sort((a, b) => b.startedAt.localeCompare(a.startedAt)), 'sessions')],
  ['GET', /^\/file-sessions\/([^/]+)$/, ({ m, user, perms }) => sessionOf(m, user, perms)],
  ['DELETE', /^\/file-sessions\/([^/]+)$/, ({ m, user, perms }) => { const s = sessionOf(m, user, perms); sessions.splice(sessions.indexOf(s), 1); return { ok: true }; }],
  ['GET', /^\/file-sessions\/([^/]+)\/events$/, ({ m, q, user, perms }) => listing(q, events.get(sessionOf(m, user, perms).id).filter((e) => (!q.get('action') || e.action === q.get('action')) && (!q.get('outcome') || e.outcome === q.get('outcome')) && (!q.get('q') || `${e.path} ${e.newPath ?? ''} ${e.error}`.toLowerCase().includes(q.get('q').toLowerCase()))), 'events')],
  ['GET', /^\/file-sessions\/([^/]+)\/export$/, ({ m, q, user, perms, res }) => {
    const s = sessionOf(m, user, perms), list = events.get(s.id), csv = q.get('format') === 'csv';
    res.setHeader('Content-Type', csv ? 'text/csv' : 'application/json');
    res.setHeader('Content-Disposition', `attachment; filename="${s.id}.${csv ? 'csv' : 'json'}"`);
    const head = ['id', 'timestamp', 'action', 'path', 'newPath', 'size', 'sha256', 'outcome', 'error', 'durationMs'];
    res.end(csv ? [head, ...list.map((e) => head.map((key) => cell(e[key])))].map((row) => row.join(',')).join('\r\n') + '\r\n' : JSON.stringify({ session: s, events: list }));
  }],
  ['PUT', /^\/file-sessions\/([^/]+)\/hold$/, ({ m, body, user, perms }) => Object.assign(sessionOf(m, user, perms), { legalHold: body.hold })],
  ['POST', /^\/file-sessions\/([^/]+)\/terminate$/, ({ m, body, user, perms }) => Object.assign(sessionOf(m, user, perms), { live: false, endedAt: iso(Date.now()), endReason: 'terminated', endDetail: `ended by ${user.name}: ${body.reason}` })],
];
