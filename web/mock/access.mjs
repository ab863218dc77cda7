// Connections, access sessions and a make-believe shell of the mock.
import { createHash } from 'node:crypto';

export const iso = (ms) => new Date(ms).toISOString();
const START = Date.now();
const HOUR = 3_600_000;
export const fail = (status, detail, errors, code) => { throw { status, detail, errors, code }; };
let serial = 0;
export const id = (kind) => `${kind}_01k${(++serial).toString(36).padStart(3, '0')}${createHash('sha1').update(`${kind}${serial}`).digest('hex').slice(0, 20)}`;
const POLICY = { record: 'mandatory', recordInput: false, recordExecOutput: false, allowForwarding: true, allowAgent: false, allowFiles: true, files: { readOnly: false, noDelete: false, maxUploadBytes: null, maxDownloadBytes: null, allow: [], deny: [] }, tellWatched: true, idleLimitSeconds: null, timeLimitSeconds: null };
const empty = process.env.MOCK_SETUP_CODE;
const make = (name, protocol, host, folder, tags, more = {}) => ({ id: id('conn'), name, protocol, host, port: { ssh: 22, sftp: 22, telnet: 23, ftp: 21, smb: 445 }[protocol], options: {}, username: 'root', auth: 'password', hasSecret: true, hostKey: { fingerprint: `SHA256:${createHash('sha256').update(name).digest('base64').slice(0, 43)}`, algorithm: 'ssh-ed25519', pinnedAt: iso(START - 40 * 24 * HOUR), pinnedBy: 'admin' }, ownerId: 'user_1', ownerName: 'admin', folder, tags, notes: '', policy: { ...POLICY }, grants: [], lastUsedAt: null, createdAt: iso(START - 9e9), updatedAt: iso(START - 9e9), ...more });
export const connections = empty ? [] : [
  make('web-server', 'ssh', '10.0.0.7', 'Servers', ['production', 'web'], { grants: [{ kind: 'role', id: 'user', name: 'user' }], notes: 'Restart nginx with care' }),
  make('db-primary', 'ssh', '10.0.0.9', 'Servers', ['production', 'postgres'], { policy: { ...POLICY, recordInput: true, allowForwarding: false, idleLimitSeconds: 900 } }),
  make('db-replica', 'ssh', '10.0.0.10', 'Servers', ['postgres']),
  make('build-01', 'ssh', 'build-01.lan', 'Build farm', ['ci'], { auth: 'key', username: 'ci' }),
  make('build-02', 'ssh', 'build-02.lan', 'Build farm', ['ci'], { auth: 'key', username: 'ci', hostKey: null }),
  make('core-switch', 'telnet', '10.0.0.1', 'Network', ['switch'], { username: 'admin', hostKey: null }),
  make('edge-router', 'telnet', '10.0.0.2', 'Network', ['router'], { auth: 'prompt', hasSecret: false, hostKey: null }),
  make('nas', 'smb', 'nas.lan', 'Storage', ['backup'], { username: 'backup', hostKey: null, options: { share: 'media', domain: '' } }),
  make('drop box', 'sftp', '10.0.0.30', 'Storage', [], { username: 'drop', policy: { ...POLICY, files: { readOnly: true, noDelete: true, maxUploadBytes: null, maxDownloadBytes: null, allow: [], deny: [] } } }),
  make('old printer', 'ftp', '10.0.0.40', 'Network', [], { username: 'anonymous', auth: 'none', hasSecret: false, hostKey: null, options: { tls: 'none' } }),
  make('my laptop', 'ssh', '10.0.4.20', '', [], { auth: 'prompt', hasSecret: false, username: 'ada' }),
];
const COMMANDS = ['ls -la /var/log', 'systemctl status nginx', 'tail -n 50 /var/log/nginx/error.log', 'vim /etc/nginx/sites-enabled/default', 'nginx -t', 'systemctl reload nginx', 'df -h', 'free -m', 'htop', 'psql -c "select count(*) from orders"', 'git -C /srv/app pull', 'docker ps', 'journalctl -u app --since "1 hour ago"', 'exit'];
const ends = ['closed', 'closed', 'closed', 'closed', 'client_lost', 'terminated', 'idle', 'unreachable', 'login_refused', 'target_lost'];
const sessions = [];
const terminals = connections.filter((c) => c.protocol === 'ssh' || c.protocol === 'telnet');
export const people = [['user_1', 'admin'], ['user_2', 'grace'], ['user_3', 'hiro']];
if (!empty) for (let i = 0; i < Number(process.env.MOCK_SESSIONS ?? 640); i++) {
  const c = terminals[(i * 7) % terminals.length], [userId, username] = people[(i * 5) % 3], length = ((i * 7919) % 5400) * 1000 + 20_000, at = START - i * 1.7 * HOUR - HOUR, reason = ends[(i * 3) % ends.length];
  const failed = reason === 'unreachable' || reason === 'login_refused', purpose = i % 9 === 4 ? 'exec' : i % 13 === 6 ? 'subsystem' : i % 31 === 9 ? 'forward' : 'shell';
  const recorded = !failed && purpose !== 'subsystem' && purpose !== 'forward';
  sessions.push({ id: id('sess'), userId, username, protocol: c.protocol, startedAt: iso(at), endedAt: iso(at + (failed ? 3000 : length)), hasRecording: recorded, fileSize: recorded ? (i === 8 ? 412_000_000 : length * 3) : 0, sha256In: null, sha256Out: null, connectionId: c.id, connectionName: c.name, live: false, clientAddress: i % 2 ? '10.0.4.20' : '192.168.7.31', clientKind: i % 2 ? 'native' : 'web', purpose, command: purpose === 'exec' ? 'tar czf - /srv | wc -c' : purpose === 'subsystem' ? 'sftp' : null, recording: !recorded ? 'none' : i % 11 === 5 ? 'incomplete' : 'sealed', commandCount: recorded ? (purpose === 'exec' ? 1 : 14) : 0, endReason: reason, endDetail: reason === 'terminated' ? 'ended by admin: maintenance window is over' : failed ? (reason === 'unreachable' ? `${c.host} did not answer within 10 s` : 'the target refused the password of root') : null, exitStatus: reason === 'closed' ? (i % 6 === 1 ? 130 : 0) : null, exitSignal: null, bytesIn: 4210, bytesOut: length * 2, target: `${c.username}@${c.host}:${c.port}`, legalHold: i === 2, node: 'node-a', viewers: [] });
}
const shown = (c, user, perms) => {
  const own = c.ownerId === user.id, edit = own || perms.includes('connections.edit_any'), sees = edit || perms.includes('sessions.view_any');
  return { ...c, secret: undefined, host: sees ? c.host : null, port: sees ? c.port : null, username: sees ? c.username : null, grants: edit ? c.grants : null, may: { use: perms.includes('connections.use'), edit, delete: own || perms.includes('connections.delete_any'), share: edit && perms.includes('connections.share') }, liveSessions: sessions.filter((s) => s.live && s.connectionId === c.id).length };
};
const usable = (c, user, perms) => c.ownerId === user.id || perms.includes('connections.edit_any') || c.grants.some((g) => (g.kind === 'user' ? g.name === user.name : g.name === user.role));

// --- recordings -----------------------------------------------------------------------------------------
const live = new Map();
const PROMPT = '\x1b[1;32mroot@web-server\x1b[0m:\x1b[1;34m~\x1b[0m# ';
const RESULTS = { ls: 'total 128\r\ndrwxr-xr-x  2 root root  4096 Nov  1 10:02 \x1b[1;34mapt\x1b[0m\r\n-rw-r-----  1 root adm  48211 Nov  1 11:40 auth.log\r\n-rw-r-----  1 root adm 918201 Nov  1 11:41 syslog', df: 'Filesystem      Size  Used Avail Use% Mounted on\r\n/dev/vda1        40G   17G   21G  45% /', systemctl: '\x1b[1;32m●\x1b[0m nginx.service - A high performance web server\r\n     Active: \x1b[1;32mactive (running)\x1b[0m since Sat 2025-11-01 09:12:01 UTC', colours: Array.from({ length: 16 }, (_, i) => `\x1b[${i < 8 ? 30 + i : 82 + i}mcolour ${i}\x1b[0m`).join(' '), link: 'see https://example.org/manual for more — 你好 👩‍👩‍👧 é' };
const reply = (command) => command.startsWith('echo ') ? command.slice(5) : RESULTS[command.split(' ')[0]] ?? (command ? `${command.split(' ')[0]}: done` : '');
function castOf(session) {
  const l = live.get(session.id);
  if (l) return [JSON.stringify({ version: 2, width: l.cols, height: l.rows }), ...l.events.map((e) => JSON.stringify(e))].join('\n') + '\n';
  const lines = [JSON.stringify({ version: 2, width: 100, height: 28, timestamp: Math.floor(Date.parse(session.startedAt) / 1000) })], length = (Date.parse(session.endedAt) - Date.parse(session.startedAt)) / 1000;
  let t = 0.4;
  lines.push(JSON.stringify([t, 'o', PROMPT]));
  COMMANDS.forEach((command, i) => {
    t = Math.max(t + 0.5, (length * i) / COMMANDS.length + 0.8);
    for (const char of command) lines.push(JSON.stringify([Number((t += 0.07).toFixed(3)), 'o', char]));
    const out = Array.from({ length: (i * 5) % 23 + 1 }, () => reply(command)).join('\r\n');
    lines.push(JSON.stringify([Number((t += 0.2).toFixed(3)), 'o', `\r\n${out}\r\n${PROMPT}`]));
  });
  return lines.join('\n') + '\n';
}
const commandsOf = (session) => session.commandCount === 0 ? [] : live.has(session.id) ? live.get(session.id).commands : COMMANDS.slice(0, session.commandCount).map((command, i) => { const elapsed = Math.round(((Date.parse(session.endedAt) - Date.parse(session.startedAt)) * i) / COMMANDS.length) + 800; return { id: `cmd_${session.id}_${i}`, timestamp: iso(Date.parse(session.startedAt) + elapsed), elapsed, command, output_preview: reply(command).replace(/\x1b\[[0-9;]*m/g, '').replaceAll('\r', ''), source: i % 2 ? 'screen' : 'osc133', confidence: i % 2 ? 'inferred' : 'exact', kind: 'shell', until: null, exitCode: i === 4 ? 1 : 0 }; });

const tickets = new Map();
const ticket = (what, user) => { const t = Math.random().toString(36).slice(2).padEnd(12, 'x'); tickets.set(t, { ...what, user }); return { ticket: t, expiresAt: iso(Date.now() + 30_000) }; };
const find = (list, key) => list.find((x) => x.id === key) ?? fail(404, 'there is no such thing, or you may not know of it', undefined, 'not_found');
const visible = (user, perms) => (perms.includes('sessions.view_any') ? sessions : sessions.filter((s) => s.userId === user.id));
const matching = (q, user, perms) => visible(user, perms).filter((s) => (!q.get('userId') || s.userId === q.get('userId')) && (!q.get('connectionId') || s.connectionId === q.get('connectionId')) && (!q.get('protocol') || s.protocol === q.get('protocol')) && (q.get('live') !== 'true' || s.live) && (!q.get('from') || Date.parse(s.startedAt) >= Date.parse(q.get('from'))) && (!q.get('to') || Date.parse(s.startedAt) < Date.parse(q.get('to'))) && (!q.get('q') || commandsOf(s).some((c) => c.command.includes(q.get('q'))))).sort((a, b) => b.startedAt.localeCompare(a.startedAt));
export const listing = (q, all, key) => { const page = Number(q.get('page') ?? 1), limit = Number(q.get('limit') ?? 25); return { [key]: all.slice((page - 1) * limit, page * limit), page, limit, total: all.length }; };
const keys = empty ? [] : [{ id: id('key'), label: 'ada@laptop', fingerprint: 'SHA256:Yx0rJ3n0bJ6rXv7d1nP0q2b6r9o0VZtq3c5u4w8a1fE', createdAt: iso(START - 6e9), lastUsedAt: iso(START - 3e6) }];
const testOf = (body) => (body.host?.includes('nowhere') ? { ok: false, message: `${body.host} did not answer within 10 s`, reached: false, latencyMs: null, hostKey: null, pinned: 'none', login: 'not_tried' } : { ok: true, message: 'the login works', reached: true, latencyMs: 3, hostKey: body.protocol === 'telnet' ? null : { algorithm: 'ssh-ed25519', fingerprint: 'SHA256:q0rJ3n0bJ6rXv7d1nP0q2b6r9o0VZtq3c5u4w8a1fEY' }, pinned: body.hostKey ? 'match' : 'new', login: body.auth === 'prompt' ? 'not_tried' : 'ok' });
const raw = (res, type, text) => { res.setHeader('Content-Type', type); res.setHeader('Content-Length', Buffer.byteLength(text)); res.end(text); return undefined; };

export const accessRoutes = [
  ['GET', /^\/connections$/, ({ q, user, perms }) => {
    const words = q.get('q')?.toLowerCase();
    const mine = connections.filter((c) => usable(c, user, perms));
    const all = mine.filter((c) => (!words || `${c.name} ${c.folder} ${c.tags} ${c.notes}`.toLowerCase().includes(words)) && (!q.get('folder') || c.folder === q.get('folder')) && (!q.get('tag') || c.tags.includes(q.get('tag'))) && (!q.get('protocol') || c.protocol === q.get('protocol')));
    return { ...listing(q, all.map((c) => shown(c, user, perms)), 'connections'), folders: [...new Set(mine.map((c) => c.folder).filter(Boolean))], tags: [...new Set(mine.flatMap((c) => c.tags))] };
  }],
  ['POST', /^\/connections$/, ({ body, user, perms }) => { if (!body.name) fail(422, 'a connection needs a name', [{ field: 'name', message: 'say what it is called' }]); if (connections.some((c) => c.name === body.name)) fail(409, `there is a connection called ${body.name} already`, [{ field: 'name', message: 'this name is taken' }]); const c = { ...make(body.name, body.protocol, body.host, body.folder, body.tags), ...body, hostKey: null, hasSecret: !!(body.password || body.privateKey), ownerId: user.id, ownerName: user.name, grants: [] }; connections.push(c); return [201, shown(c, user, perms)]; }],
  ['POST', /^\/connections\/test$/, ({ body }) => testOf(body)],
  ['GET', /^\/connections\/([^/]+)$/, ({ m, user, perms }) => shown(find(connections, m[1]), user, perms)],
  ['PATCH', /^\/connections\/([^/]+)$/, ({ m, body, user, perms }) => shown(Object.assign(find(connections, m[1]), body), user, perms)],
  ['DELETE', /^\/connections\/([^/]+)$/, ({ m }) => (connections.splice(connections.indexOf(find(connections, m[1])), 1), { ok: true })],
  ['PUT', /^\/connections\/([^/]+)\/grants$/, ({ m, body }) => { const c = find(connections, m[1]); c.grants = body.grants.map((g) => ({ id: g.id ?? g.name, name: g.name ?? g.id, kind: g.kind })); return { grants: c.grants }; }],
  ['POST', /^\/connections\/([^/]+)\/test$/, ({ m }) => testOf(find(connections, m[1]))],
  ['PUT', /^\/connections\/([^/]+)\/host-key$/, ({ m, body, user }) => ((find(connections, m[1]).hostKey = { fingerprint: body.fingerprint, algorithm: 'ssh-ed25519', pinnedAt: iso(Date.now()), pinnedBy: user.name }), { ok: true })],
  ['DELETE', /^\/connections\/([^/]+)\/host-key$/, ({ m }) => ((find(connections, m[1]).hostKey = null), { ok: true })],
  ['POST', /^\/connections\/([^/]+)\/tickets$/, ({ m, user }) => ticket({ connection: find(connections, m[1]).id }, user)],
  ['GET', /^\/sessions$/, ({ q, user, perms }) => listing(q, matching(q, user, perms), 'sessions')],
  ['DELETE', /^\/sessions$/, () => ({ ok: true, deletedSessions: 0, deletedRecordings: 0, deletedFileSessions: 0, skippedLive: live.size })],
  ['GET', /^\/sessions\/live$/, ({ user, perms }) => ({ sessions: (perms.includes('sessions.watch') ? sessions : visible(user, perms)).filter((s) => s.live).map((s) => { const l = live.get(s.id); return { ...s, cols: l.cols, rows: l.rows, viewers: l.viewers(), idleMs: Date.now() - l.last }; }) })],
  ['GET', /^\/sessions\/storage$/, () => ({ bytes: 10_737_418_240, breakdown: { sealed: 10_200_000_000, incomplete: 480_000_000, live: 41_000_000, spool: 16_418_240 }, recordings: sessions.filter((s) => s.hasRecording).length, free: 84_000_000_000, pressure: 'normal' })],
  ['GET', /^\/nodes$/, () => ({ nodes: [{ id: 'node_a', name: 'node-a', url: 'http://10.0.0.30:8080', startedAt: iso(START - 3e8), seenAt: iso(Date.now() - 1500), state: 'running', liveSessions: live.size }, { id: 'node_b', name: 'node-b', url: null, startedAt: iso(START - 9e8), seenAt: iso(START - 4e6), state: 'dead', liveSessions: 0 }] })],
  ['GET', /^\/sessions\/(sess_[^/]+)$/, ({ m, user, perms }) => find(visible(user, perms), m[1])],
  ['DELETE', /^\/sessions\/(sess_[^/]+)$/, ({ m }) => (sessions.splice(sessions.indexOf(find(sessions, m[1])), 1), { ok: true })],
  ['GET', /^\/sessions\/(sess_[^/]+)\/recording$/, ({ m, q, res }) => { const cast = castOf(find(sessions, m[1])); return q.get('format') === 'txt' ? raw(res, 'text/plain', cast.split('\n').slice(1).map((l) => (l ? JSON.parse(l)[2] : '')).join('').replace(/\x1b\[[0-9;]*m/g, '').replaceAll('\r', '')) : raw(res, 'application/x-asciicast', cast); }],
  ['GET', /^\/sessions\/(sess_[^/]+)\/commands$/, ({ m }) => ({ commands: commandsOf(find(sessions, m[1])) })],
  ['GET', /^\/sessions\/(sess_[^/]+)\/export$/, ({ res }) => raw(res, 'application/x-tar', 'not really')],
  ['GET', /^\/sessions\/(sess_[^/]+)\/verify$/, ({ m }) => { const s = find(sessions, m[1]), gap = s.recording === 'incomplete'; return { status: s.recording, ok: s.recording !== 'none', message: gap ? 'One stretch is missing.' : 'All of it is there.', checkedAt: iso(Date.now()), frames: 41, segments: 2, bytes: s.fileSize ?? 0, gaps: gap ? [{ fromMs: 61_000, toMs: 62_200, reason: 'spool_full', message: 'the disk was full' }] : [], faults: [], publicKey: '5d1f0c9a3e7b2468ace013579bdf2468ace013579bdf2468ace013579bdf2468', head: createHash('sha256').update(s.id).digest('hex') }; }],
  ['PUT', /^\/sessions\/(sess_[^/]+)\/hold$/, ({ m, body }) => ((find(sessions, m[1]).legalHold = body.hold), { ok: true })],
  ['POST', /^\/sessions\/(sess_[^/]+)\/tickets$/, ({ m, body, user }) => { const s = find(sessions, m[1]); if (!s.live) fail(409, 'the session has ended'); return ticket({ session: s.id, purpose: body.purpose }, user); }],
  ['POST', /^\/sessions\/(sess_[^/]+)\/terminate$/, ({ m, body, user }) => { const l = live.get(m[1]) ?? fail(409, 'the session has ended'); l.end('terminated', `ended by ${user.name}: ${body.reason}`); return { ok: true }; }],
  ['GET', /^\/users\/[^/]+\/keys$/, () => ({ keys })],
  ['POST', /^\/users\/[^/]+\/keys$/, ({ body }) => { if (!/^ssh-|^ecdsa-/.test(body.publicKey)) fail(422, 'this is not a public key', [{ field: 'publicKey', message: 'paste one line that begins with ssh-ed25519, ecdsa-… or ssh-rsa' }]); const k = { id: id('key'), label: body.label ?? body.publicKey.split(' ')[2] ?? '', fingerprint: `SHA256:${createHash('sha256').update(body.publicKey).digest('base64').slice(0, 43)}`, createdAt: iso(Date.now()), lastUsedAt: null }; keys.push(k); return [201, k]; }],
  ['DELETE', /^\/users\/[^/]+\/keys\/(.+)$/, ({ m }) => (keys.splice(keys.findIndex((k) => k.id === m[1]), 1), { ok: true })],
];

// --- the make-believe shell -------------------------------------------------------------------------------
function beginSession(connection, user, cols, rows) {
  const s = { id: id('sess'), userId: user.id, username: user.name, protocol: connection.protocol, startedAt: iso(Date.now()), endedAt: null, hasRecording: true, fileSize: 0, sha256In: null, sha256Out: null, connectionId: connection.id, connectionName: connection.name, live: true, clientAddress: '127.0.0.1', clientKind: 'web', purpose: 'shell', command: null, recording: 'live', commandCount: 0, endReason: null, endDetail: null, exitStatus: null, exitSignal: null, bytesIn: 0, bytesOut: 0, target: `${connection.username}@${connection.host}`, legalHold: false, node: 'node-a', viewers: [] };
  sessions.unshift(s);
  connection.lastUsedAt = s.startedAt;
  const began = Date.now(), clients = new Set();
  const l = {
    cols, rows, events: [], commands: [], last: Date.now(), out: Buffer.alloc(0), line: '', clients,
    viewers: () => [...clients].filter((c) => c.mode !== 'own').map((c) => ({ name: c.user.name, mode: c.mode })),
    tellViewers: () => { for (const c of clients) c.text({ type: 'viewers', viewers: l.viewers() }); },
    emit(text) { const bytes = Buffer.from(text); l.out = Buffer.concat([l.out, bytes]); l.events.push([(Date.now() - began) / 1000, 'o', text]); s.bytesOut += bytes.length; s.fileSize += text.length + 20; for (const c of clients) c.bytes(bytes); },
    type(data) {
      l.last = Date.now(); s.bytesIn += data.length;
      for (const char of data.toString()) {
        if (char === '\r' || char === '\n') {
          const command = l.line.trim(); l.line = '';
          if (command === 'exit') { l.emit('\r\nlogout\r\n'); return l.end('closed', null, 0); }
          if (command.startsWith('flood')) { for (let i = 0; i < 400; i++) l.emit(`\r\n${i} ${'x'.repeat(90)}`); }
          if (command) { l.commands.push({ id: id('cmd'), timestamp: iso(Date.now()), elapsed: Date.now() - began, command, output_preview: reply(command).replace(/\x1b\[[0-9;]*m/g, ''), source: 'screen', confidence: 'inferred', kind: 'shell', until: null, exitCode: null }); s.commandCount++; }
          l.emit(`\r\n${command ? `${reply(command)}\r\n` : ''}${PROMPT}`);
        } else if (char === '\x7f') { if (l.line) { l.line = l.line.slice(0, -1); l.emit('\b \b'); } } else if (char >= ' ') { l.line += char; l.emit(char); }
      }
    },
    end(reason, detail, status = null) { s.live = false; s.endedAt = iso(Date.now()); s.recording = 'sealed'; s.endReason = reason; s.endDetail = detail; s.exitStatus = status; for (const c of clients) { c.text({ type: 'end', reason, detail, exitStatus: status }); c.close(); } ended.set(s.id, l); },
  };
  live.set(s.id, l);
  setTimeout(() => l.emit(`\x1b]0;root@${connection.name}\x07Welcome to ${connection.name}\r\n\r\n${PROMPT}`), 60);
  return [s, l];
}
const ended = new Map();

/** One WebSocket of the terminal: just enough of RFC 6455 for a browser on the same machine. */
export function upgrade(req, socket) {
  if (new URL(req.url, 'http://mock').pathname !== '/api/v1/terminal') return;
  const name = req.headers['sec-websocket-protocol']?.split(/, */).find((p) => p.startsWith('ticket.'))?.slice(7), grant = tickets.get(name);
  tickets.delete(name);
  if (!grant) return socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
  const accept = createHash('sha1').update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: sojourn.terminal.v1\r\n\r\n`);
  const frame = (op, data) => { if (socket.destroyed) return; const n = data.length, head = n < 126 ? Buffer.from([0x80 | op, n]) : n < 65536 ? Buffer.from([0x80 | op, 126, n >> 8, n & 255]) : Buffer.from([0x80 | op, 127, 0, 0, 0, 0, n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255]); socket.write(Buffer.concat([head, data])); };
  const client = { user: grant.user, mode: 'own', text: (m) => frame(1, Buffer.from(JSON.stringify(m))), bytes: (b) => frame(2, b), close: () => { frame(8, Buffer.alloc(0)); socket.end(); } };
  let session = null, l = null;
  function message(op, data) {
    if (op === 2) return client.mode !== 'watch' && l?.type(data);
    const m = JSON.parse(data.toString());
    if (m.type === 'start') {
      if (grant.connection) [session, l] = beginSession(connections.find((c) => c.id === grant.connection), grant.user, m.cols, m.rows);
      else { session = sessions.find((s) => s.id === grant.session); l = live.get(grant.session); client.mode = grant.purpose === 'attach' ? 'own' : grant.purpose; }
      client.text({ type: 'session', id: session.id, connectionName: session.connectionName, recorded: true, attach: { graceSeconds: 120 } });
      if (client.mode !== 'own') client.text({ type: 'snapshot', cols: l.cols, rows: l.rows, data: l.out.toString(), offset: l.out.length });
      else if (grant.session) client.bytes(l.out.subarray(m.received ?? 0));
      l.clients.add(client);
      l.tellViewers();
    } else if (m.type === 'resize' && client.mode === 'own') { l.cols = m.cols; l.rows = m.rows; for (const c of l.clients) if (c !== client) c.text(m); } else if (m.type === 'close') l?.end('closed', null);
  }
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      if (rest.length < 2) return;
      let n = rest[1] & 127, at = 2;
      if (n === 126) { if (rest.length < 4) return; n = rest.readUInt16BE(2); at = 4; } else if (n === 127) { if (rest.length < 10) return; n = Number(rest.readBigUInt64BE(2)); at = 10; }
      if (rest.length < at + 4 + n) return;
      const mask = rest.subarray(at, at + 4), data = Buffer.from(rest.subarray(at + 4, at + 4 + n)), op = rest[0] & 15;
      for (let i = 0; i < n; i++) data[i] ^= mask[i & 3];
      rest = rest.subarray(at + 4 + n);
      if (op === 8) return socket.end();
      if (op === 1 || op === 2) message(op, data);
    }
  });
  const gone = () => { l?.clients.delete(client); if (l && session?.live) l.tellViewers(); };
  socket.on('close', gone);
  socket.on('error', gone);
}
if (!empty) for (const [i, c] of [0, 3].entries()) { const [s, l] = beginSession(connections[c], { id: people[i + 1][0], name: people[i + 1][1] }, 100, 28); s.startedAt = iso(START - (i + 1) * 400_000); let n = 0; const timer = setInterval(() => { if (!s.live) return clearInterval(timer); l.type(Buffer.from(`${COMMANDS[n++ % (COMMANDS.length - 1)]}\r`)); }, 4000); timer.unref?.(); }
